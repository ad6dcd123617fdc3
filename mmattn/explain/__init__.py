"""What a prediction rests on: attention, gates, gradient maps, their statistics and their checks.

    network = Network(load_config("my_config.py"), "best.pth")
    explain_images([network], ["photo.jpg"], "explained", Options(methods=["attention"]))
"""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "FaithfulnessOptions": "checks",
        "Network": "networks",
        "Options": "run",
        "explain_images": "run",
        "choose_target": "targets",
        "parse_target": "targets",
    },
)
