"""How many images are predicted: what is written of each, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mmattn.errors import ConfigError
from mmattn.inference.detect import DetectionOptions

#: A command that names no format draws its images up to this number of them.
DRAWN_AT_MOST = 1000


@dataclass(frozen=True)
class ManyOptions:
    """Settings of ``predict_many``.

    Attributes:
        format: ``coco``, one file of boxes or panoptic segments in COCO's form; ``jsonl``, one line
            of JSON for each image; None for ``coco`` where the results have it, else ``jsonl``.
        draw: Whether the results are drawn over their images.
        strict: Whether an image that cannot be read ends the run.
        detection: What is kept of detections.
        opacity: Opacity of the classes' colours, 0 to 1, where they are drawn.
        legend: Whether the names of the classes stand below drawn classes.
        batch: Largest number of images that go through the network together.
        readers: Threads that read and prepare images ahead of the network.

    Raises:
        ConfigError: A number is below 1.
    """

    format: Literal["coco", "jsonl"] | None = None
    draw: bool = False
    strict: bool = False
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    opacity: float = 0.5
    legend: bool = True
    batch: int = 1
    readers: int = 2

    def __post_init__(self) -> None:
        for option, value in (("--batch", self.batch), ("--readers", self.readers)):
            if value < 1:
                raise ConfigError(f"{option} {value}: give 1 or more")

    def format_of(self, result: str) -> Literal["coco", "jsonl"]:
        """Return the format for results of this kind, ``Predictor.result``.

        Raises:
            ConfigError: COCO has no form for them.
        """
        if result == "classes":
            if self.format == "coco":
                raise ConfigError(
                    "--format coco: COCO has no form for the classes of semantic segmentation; "
                    "label maps are written as PNG in any case, and --format jsonl lists them"
                )
            return "jsonl"
        return self.format or "coco"
