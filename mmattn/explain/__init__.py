"""What a prediction rests on: attention, gates, gradient maps, their statistics and their checks.

network = Network(load_config("my_config.py"), "best.pth")
explain_images([network], ["photo.jpg"], "explained", Options(methods=["attention"]))
"""

from __future__ import annotations

from .checks import FaithfulnessOptions as FaithfulnessOptions
from .explanation import Explanation as Explanation
from .methods import METHODS as METHODS
from .methods import explain as explain
from .networks import Network as Network
from .run import Options as Options
from .run import explain_images as explain_images
from .targets import choose_target as choose_target
from .targets import parse_target as parse_target

__all__ = [
    "METHODS",
    "Explanation",
    "FaithfulnessOptions",
    "Network",
    "Options",
    "choose_target",
    "explain",
    "explain_images",
    "parse_target",
]
