"""Places of blocks in a network, as a command line names them: ``backbone.layer3.*.conv2``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.errors import ConfigError, did_you_mean
from mmattn.inference.model import strip_pretrained
from mmattn.plugins.dry_run import dry_run
from mmattn.tasks import task_of

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass(frozen=True)
class Place:
    """Place that one ``--at`` names.

    Attributes:
        part: Part of the model, ``backbone``, ``neck`` or a head of ``Task.insertable_parts``.
        pattern: Pattern of submodules of the part; a block goes after each. None for the feature
            maps that the part returns.
        num_maps: Number of these feature maps.
    """

    part: str
    pattern: str | None = None
    num_maps: int = 0

    def __str__(self) -> str:
        return f"{self.part}.{self.pattern}" if self.pattern else self.part

    def entry(self, block: Mapping[str, Any]) -> dict[str, Any]:
        """Return an entry of ``WithPlugins(plugins=…)``."""
        if self.pattern:
            return {"cfg": dict(block), "at": self.pattern}
        return {"cfg": dict(block), "stages": list(range(self.num_maps))}


def parse_places(words: Sequence[str], cfg: Config) -> tuple[Place, ...]:
    """Read the words of ``--at`` for the model of ``cfg``.

    Raises:
        ConfigError: The model has no such part, the part is a list of networks, or a head without
            a pattern. (Whether a pattern matches is found out when the model is built.)
    """
    places = []
    for word in words:
        part, _, pattern = word.partition(".")
        there = [name for name in task_of(cfg).insertable_parts if cfg.model.get(name) is not None]
        if part not in there:
            raise ConfigError(
                f"--at {word}: {cfg.filename} has no model.{part}.{did_you_mean(part, there)} "
                f"Write {' or '.join(there) or 'another config'}, alone for a block after each "
                "output feature map, or with a pattern of its submodules, as in "
                "backbone.layer3.*.conv2."
            )
        if part.endswith("_head") and not pattern:
            raise ConfigError(
                f"--at {word}: a head returns predictions, not feature maps. Give a pattern of its "
                f"submodules, as in {part}.pixel_decoder.output_convs.*"
            )
        if not isinstance(cfg.model[part], Mapping):
            raise ConfigError(
                f"--at {word}: model.{part} of {cfg.filename} is a list, not a single network."
            )
        places.append(
            Place(part, pattern) if pattern else Place(part, None, _returned_maps(cfg, part))
        )
    if not places:
        raise ConfigError("--at: name at least one place, as in backbone.layer3.")
    if len(set(places)) < len(places):
        raise ConfigError(f"--at {' --at '.join(words)}: a place is given twice.")
    return tuple(places)


def with_block(
    model: Mapping[str, Any], block: Mapping[str, Any] | None, places: Sequence[Place]
) -> dict[str, Any]:
    """Return a model's config with ``block`` at ``places``; with None, an equal copy."""
    new_model = deepcopy(dict(model))
    if block is None:
        return new_model
    for part in dict.fromkeys(place.part for place in places):
        new_model[part] = {
            "type": "mmattn.WithPlugins",
            "inner": new_model[part],
            "plugins": [place.entry(block) for place in places if place.part == part],
        }
    return new_model


def _returned_maps(cfg: Config, part: str) -> int:
    """Return how many feature maps a part of the model returns, found by running it."""
    enter_scope(cfg)
    from mmengine.registry import MODELS

    with explain_registry_errors(cfg.filename):
        network = MODELS.build(strip_pretrained(deepcopy(cfg.model[part])))
    returned = dry_run(network, [""])[""].outputs[0]
    return (
        1 if isinstance(returned, tuple) else len(returned)
    )  # a tuple is the shape of a single map
