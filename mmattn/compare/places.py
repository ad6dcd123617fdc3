"""Places of blocks in a network, as a command line names them: ``backbone.layer3.*.conv2``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.errors import ConfigError, did_you_mean
from mmattn.inference.model import strip_pretrained
from mmattn.plugins.dry_run import dry_run
from mmattn.plugins.patterns import match_submodules
from mmattn.tasks import task_of

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

#: The word of ``--at`` that stands for each of ``candidate_places`` in turn.
AUTO = "auto"
# Names under which networks keep their stages: layer1 (ResNet, MobileNetV2), stage2 (CSPDarknet),
# and lists of them (stages.0 of Swin, layers.3 of MiT), in a wrapper too (timm_model.blocks.5).
_STAGE = re.compile(r"(?:[a-z_]+\.)?(?:(?:layer|stage|block)_?\d+|(?:stages|layers|blocks)\.\d+)")


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


def parse_places(
    words: Sequence[str], cfg: Config, say: Callable[[str], None] = lambda text: None
) -> tuple[Place, ...]:
    """Read the words of ``--at`` for the model of ``cfg``.

    Args:
        words: ``PART`` or ``PART.PATTERN``; a pattern alone where one part alone has it.
        cfg: Whole config.
        say: Called with a line for each word whose part was found out.

    Raises:
        ConfigError: The model has no such part, the part is a list of networks, or a head without
            a pattern. (Whether a pattern matches is found out when the model is built.)
    """
    places = []
    there = [name for name in task_of(cfg).insertable_parts if cfg.model.get(name) is not None]
    for word in words:
        part, _, pattern = word.partition(".")
        if part not in there and (found := _part_with(word, there, cfg)):
            say(f"--at {word}: {found}.{word}")
            part, pattern = found, word
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


def _part_with(pattern: str, parts: Sequence[str], cfg: Config) -> str | None:
    """Return the only part of the model that has submodules of a pattern; None where none has.

    Raises:
        ConfigError: Several parts have them.
    """
    found = []
    for part in parts:
        if isinstance(cfg.model[part], Mapping):
            try:
                match_submodules(_built(cfg, part), [pattern], where="--at")
            except ConfigError:
                continue
            found.append(part)
    if len(found) > 1:
        words = " or ".join(f"{part}.{pattern}" for part in found)
        raise ConfigError(f"--at {pattern}: {' and '.join(found)} have it; write {words}.")
    return found[0] if found else None


def candidate_places(cfg: Config) -> tuple[Place, ...]:
    """List the places of ``--at auto``: each stage of the backbone, its blocks' ends, and the neck.

    Stages are found by the names that networks give them; a network without such names is offered
    its output feature maps, all at once.

    Raises:
        ConfigError: The model has no backbone that is a single network.
    """
    if not isinstance(cfg.model.get("backbone"), Mapping):
        raise ConfigError(f"--at {AUTO}: {cfg.filename} has no model.backbone to look for places.")
    network = _built(cfg, "backbone")
    patterns = stage_patterns(network)
    places = [Place("backbone", pattern) for pattern in patterns]
    if not places:
        places = [Place("backbone", None, _returned_maps(cfg, "backbone"))]
    if isinstance(cfg.model.get("neck"), Mapping):
        places.append(Place("neck", None, _returned_maps(cfg, "neck")))
    return tuple(places)


def stage_patterns(network: nn.Module) -> list[str]:
    """List patterns for the stages of a backbone, and for the blocks inside of each.

    Only what returns one feature map, or tokens, can hold a block, so each name is tried in a dry
    run. ``layer3`` is the stage's output, ``layer3.*`` the end of each of its blocks, which is
    another place if there is more than one.
    """
    names = [name for name, _ in network.named_modules() if _STAGE.fullmatch(name)]
    inner = {
        name: [f"{name}.{child}" for child, _ in network.get_submodule(name).named_children()]
        for name in names
    }
    blocks = {
        name: children
        for name, children in inner.items()
        if len(children) > 1 and all(child.rpartition(".")[2].isdecimal() for child in children)
    }
    tried = [*names, *(child for children in blocks.values() for child in children)]
    recorded = dry_run(network, tried)

    def is_place(name: str) -> bool:
        outputs = recorded[name].outputs
        return bool(outputs) and isinstance(outputs[0], tuple) and len(outputs[0]) in (3, 4)

    patterns = []
    for name in names:
        if is_place(name):
            patterns.append(name)
        if name in blocks and all(map(is_place, blocks[name])):
            patterns.append(f"{name}.*")
    return patterns


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
    returned = dry_run(_built(cfg, part), [""])[""].outputs[0]
    return (
        1 if isinstance(returned, tuple) else len(returned)
    )  # a tuple is the shape of a single map


def _built(cfg: Config, part: str) -> nn.Module:
    """Build a part of the model, without its pretrained weights."""
    enter_scope(cfg)
    from mmengine.registry import MODELS

    with explain_registry_errors(cfg.filename):
        return MODELS.build(strip_pretrained(deepcopy(cfg.model[part])))
