"""What is found in one image by one network."""

from __future__ import annotations

from dataclasses import dataclass, field

from .checks import ImageCheck
from .explanation import Explanation
from .networks import Sample
from .sanity import SanityResult
from .target import Target


@dataclass
class Result:
    """Explanations of one image by one network.

    Attributes:
        network: Name of the network.
        sample: The image.
        target: What is explained in it.
        explanations: Maps of all methods.
        check: Deletion and insertion, where asked for.
        sanity: Kind of a map, ``Explanation.across`` -> its parameter randomisation, where asked
            for.
    """

    network: str
    sample: Sample
    target: Target
    explanations: list[Explanation]
    check: ImageCheck | None = None
    sanity: dict[str, SanityResult] = field(default_factory=dict)
