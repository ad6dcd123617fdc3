"""Entries of ``plugins=[...]`` of ``WithPlugins``: checked, and resolved to places of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmattn.errors import ConfigError, did_you_mean

from .dry_run import RecordedOutputs, is_head
from .feature_maps import Grid, Layout, find_layout
from .patterns import match_submodules, without_part

_KEYS = ("cfg", "stages", "at", "frozen")


@dataclass(frozen=True)
class InsertionPoint:
    """A place of a network for one block.

    Attributes:
        module: Name of the submodule, ``""`` for the network.
        item: Key of the item of its output, None for the output itself.
        layout: Layout of the feature map there.
        key: Beginning of the block's name in ``plugins``.
        shown: Name of the place in messages.
    """

    module: str
    item: Any
    layout: Layout
    key: str
    shown: str

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True)
class PluginEntry:
    """Entry of ``plugins``, checked.

    Attributes:
        index: Position in the list.
        cfg: Config of the block.
        stages: Indices of returned feature maps, or a boolean for each of them; None with ``at``.
        at: Patterns of submodules' names; none with ``stages``.
        frozen: Whether the block keeps its weights and statistics.
    """

    index: int
    cfg: Mapping[str, Any]
    stages: Sequence[int] | Sequence[bool] | None
    at: tuple[str, ...]
    frozen: bool

    def __str__(self) -> str:
        return f"WithPlugins: plugins[{self.index}]"

    @classmethod
    def read(cls, entry: Any, index: int) -> PluginEntry:
        """Check an entry as the config has it.

        Raises:
            ConfigError: A key is unknown, missing or of a wrong type.
        """
        where = f"WithPlugins: plugins[{index}]"
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{where} must be a dict with `cfg` and `stages` or `at`: {entry!r}.")
        for key in entry:
            if key not in _KEYS:
                raise ConfigError(
                    f"{where} has {key!r}, but takes {', '.join(_KEYS)}.{_key_hint(key)}"
                )
        if "cfg" not in entry:
            raise ConfigError(f"{where} has no `cfg`, the config of the block.")
        stages, at = entry.get("stages"), entry.get("at")
        if (stages is None) == (at is None):
            given = "both" if at is not None else "neither"
            raise ConfigError(
                f"{where} has {given} of `stages` (maps that the network returns) and `at` "
                "(names of its submodules); give one."
            )
        patterns = (at,) if isinstance(at, str) else tuple(at or ())
        if at is not None and not (patterns and all(isinstance(p, str) and p for p in patterns)):
            raise ConfigError(f"{where}: at must be a pattern or a list of patterns, got {at!r}.")
        return cls(index, entry["cfg"], stages, patterns, bool(entry.get("frozen", False)))

    def matches(self, network: nn.Module) -> list[str]:
        """Return the names of the submodules that the entry is about."""
        if self.stages is not None:
            if is_head(network):
                raise ConfigError(
                    f"{self}.stages is for the maps of backbones and necks, but "
                    f"{type(network).__name__} is a head: name submodules of it with `at`."
                )
            return [""]
        patterns = [without_part(pattern, network) for pattern in self.at]
        return match_submodules(network, patterns, where=f"{self}.at")

    def insertion_points(
        self, network: nn.Module, names: Sequence[str], recorded: Mapping[str, RecordedOutputs]
    ) -> Iterator[InsertionPoint]:
        """Yield the places for the entry's blocks.

        Args:
            network: Network that was run.
            names: Names of submodules, as ``matches`` gives them.
            recorded: Outputs of those submodules in a dry run.

        Raises:
            ConfigError: A submodule is never called or returns no feature map, or ``stages`` do
                not fit what the network returns.
        """
        if self.stages is not None:
            yield from self._behind_returned_maps(network, recorded[""])
            return
        for name in names:
            record = recorded[name]
            if not record.outputs:
                raise ConfigError(
                    f"{self}.at: {type(network).__name__} has {name!r} but never calls it (it is "
                    "unused, or only its parts are called), so nothing can be put behind it."
                )
            item = record.only_map()
            layout = self._layout(record.shapes(item), record.grids, record.image, f"{name!r}")
            yield InsertionPoint(name, item, layout, name.replace(".", "_"), f"behind {name!r}")

    def _behind_returned_maps(
        self, network: nn.Module, record: RecordedOutputs
    ) -> Iterator[InsertionPoint]:
        keys = record.item_keys()
        for number in self._stage_indices(network, len(keys), record.outputs[0]):
            shapes = record.shapes(keys[number])
            layout = self._layout(shapes, [None] * len(shapes), record.image, f"map {number}")
            yield InsertionPoint("", keys[number], layout, f"map{number}", f"on map {number}")

    def _stage_indices(self, network: nn.Module, count: int, shapes: Any) -> list[int]:
        stages = self.stages
        if isinstance(stages, (str, bytes)) or not isinstance(stages, Sequence):
            raise ConfigError(
                f"{self}.stages must be booleans or indices of the {count} returned maps, "
                f"got {stages!r}."
            )
        network_returns = f"{type(network).__name__} returns {count} maps: {shapes}"
        if all(isinstance(stage, bool) for stage in stages):
            if len(stages) != count:
                raise ConfigError(
                    f"{self}.stages has {len(stages)} booleans, but {network_returns}. "
                    "Give one for each of them, or their indices."
                )
            return [number for number, chosen in enumerate(stages) if chosen]
        if not all(type(stage) is int and 0 <= stage < count for stage in stages):
            raise ConfigError(
                f"{self}.stages={tuple(stages)!r}: indices must be 0 to {count - 1}, since "
                f"{network_returns}."
            )
        if len(set(stages)) < len(stages):
            raise ConfigError(
                f"{self}.stages={tuple(stages)!r} names a map twice: integers are indices of maps. "
                "To choose each map by yes or no, write True and False."
            )
        return sorted(stages)

    def _layout(
        self, shapes: Sequence[Any], grids: Sequence, image: Grid | None, what: str
    ) -> Layout:
        try:
            for shape in shapes:
                if not isinstance(shape, tuple):
                    raise ValueError(f"returns {shape!r}, not one map")
            return find_layout(shapes, grids, image)
        except ValueError as error:
            raise ConfigError(f"{self}: {what} {error}.") from error


def _key_hint(key: str) -> str:
    if key == "position":
        return " Positions belong to the slots of ResNet itself; here `at` names submodules."
    return did_you_mean(key, _KEYS)
