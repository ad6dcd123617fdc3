"""A wider host: the network without a block, with as many more parameters as the block brings.

A block that improves a network may do so because of what it computes, or because any further
parameters would have. So a comparison trains a control that spends them on width: more channels in
a head, the neck or the backbone, whichever setting of the config comes closest to the number.

Only settings that the config states are changed. Channels of a backbone with pretrained weights
are not, since the weights would no longer fit; those of heads and necks start from random weights
anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

Number = int | float
#: Settings of heads, in whole channels, that nothing outside of the head depends on.
_OF_HEADS = ("channels", "feat_channels", "fc_out_channels", "conv_out_channels")
#: Settings of backbones, whose feature maps then have other channels.
_OF_BACKBONES = ("base_channels", "widen_factor")
# What is tried of a factor, and how many values are tried where one cannot be built.
_FACTOR_STEP, _NEIGHBOURS = 1 / 16, 16
_LARGEST = 64  # times the present value: no host is wider


@dataclass(frozen=True)
class Widening:
    """One setting of a model that is raised.

    Attributes:
        setting: Dotted path in the model's config, such as ``decode_head.channels``.
        value: New value.
        before: Present value.
        adds: Parameters that the model has more.
        maps: Channels of the feature maps that the part returns, before and after, where others
            depend on them.
    """

    setting: str
    value: Number
    before: Number
    adds: int
    maps: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.setting}={self.value:g}"

    def apply(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of a model's config that is wider."""
        wider = deepcopy(dict(model))
        *path, key = self.setting.split(".")
        holder = wider
        for part in path:
            holder = holder[part]
        holder[key] = self.value
        for part in _consumers(wider, path[0]) if self.maps else ():
            _renumber(wider[part], dict(self.maps), part)
        return wider

    def covers(self, added: int, smallest: bool = False) -> bool:
        """Return whether this is wide enough for a block, and not more than twice as wide.

        Args:
            added: Parameters that the block adds.
            smallest: Whether no narrower host is wide enough, so that twice may be exceeded.
        """
        return added <= self.adds and (smallest or self.adds <= 2 * added)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Widening:
        return cls(**{**content, "maps": tuple(tuple(pair) for pair in content.get("maps", ()))})


def plan_widths(
    added: Mapping[str, int],
    find: Callable[[int], Widening | None],
    known: Sequence[Widening] = (),
) -> tuple[list[Widening], dict[str, Widening]]:
    """Choose as few wider hosts as cover all blocks.

    Blocks are gone through from the largest on. One that a host covers already, with at least its
    parameters and at most twice as many, gets no host of its own.

    Args:
        added: Parameters that each block adds, by the variant's label.
        find: Function that finds the host for a number of parameters; None if there is none.
        known: Hosts of an earlier start, which are kept.

    Returns:
        The hosts, and the one of each label; labels without one are left out.
    """
    hosts, chosen = list(known), {}
    for label in sorted(added, key=lambda name: -added[name]):
        count = added[label]
        fitting = [host for host in hosts if host.covers(count)]
        if not fitting:
            found = find(count)
            if found is None:
                continue
            fitting = [host for host in hosts if host == found] or [found]
            hosts += [found] if found not in hosts else []
        chosen[label] = min(fitting, key=lambda host: host.adds)
    return hosts, chosen


class WidthSearch:
    """Search for the setting that adds a number of parameters.

    Args:
        model: Config of the model without a block.
        count: Function that builds a model's config and counts its parameters; None where it
            cannot be built.
        channels: Function that returns the channels of each feature map of a part, built from its
            config; None where it cannot be run.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        count: Callable[[Mapping[str, Any]], int | None],
        channels: Callable[[Mapping[str, Any], str], tuple[int, ...] | None],
    ) -> None:
        self.model = dict(model)
        self._count = count
        self._channels = channels
        self._channels_before = cache(partial(channels, self.model))
        self.base = count(self.model)
        self._seen: dict[tuple[str, Number], Widening | None] = {}
        self.settings = list(_settings(self.model)) if self.base is not None else []

    def find(self, added: int, refused: Sequence[str] = ()) -> Widening | None:
        """Find the setting with the fewest parameters among those that add at least ``added``.

        Args:
            added: Number of parameters.
            refused: Settings that are left out.

        Returns:
            None if no setting can be raised so far.
        """
        found = [
            least
            for setting, before in self.settings
            if setting not in refused and (least := self._least(setting, before, added)) is not None
        ]
        return min(found, key=lambda entry: entry.adds, default=None)

    def _least(self, setting: str, before: Number, added: int) -> Widening | None:
        """Return the first step of one setting that adds enough: doubled steps, then bisection."""
        step = 1 if isinstance(before, int) else _FACTOR_STEP

        def at(steps: int) -> tuple[int, Widening] | None:
            for further in range(_NEIGHBOURS):
                built = self._widening(setting, before, before + (steps + further) * step)
                if built is not None:
                    return steps + further, built
            return None

        low, high = 0, 1
        while True:
            reached = at(high)
            if reached is None or before + high * step > _LARGEST * before:
                return None
            high, best = reached
            if best.adds >= added:
                break
            low, high = high, 2 * high
        while high - low > 1:
            middle = at((low + high) // 2)
            if middle is None or middle[0] >= high:
                break  # nothing between can be built
            if middle[1].adds >= added:
                high, best = middle
            else:
                low = middle[0]
        return best

    def _widening(self, setting: str, before: Number, value: Number) -> Widening | None:
        key = (setting, value)
        if key not in self._seen:
            self._seen[key] = self._built(setting, before, value)
        return self._seen[key]

    def _built(self, setting: str, before: Number, value: Number) -> Widening | None:
        part = setting.partition(".")[0]
        maps: tuple[tuple[int, int], ...] = ()
        if setting == f"{part}.out_channels":
            maps = ((int(before), int(value)),)
        elif part == "backbone":
            own = self._channels_before(part)
            wider = self._channels(Widening(setting, value, before, 0).apply(self.model), part)
            if own is None or wider is None or len(own) != len(wider):
                return None
            maps = tuple(dict(zip(own, wider, strict=True)).items())
        widening = Widening(setting, value, before, 0, maps)
        count = self._count(widening.apply(self.model))
        if count is None or self.base is None or count <= self.base:
            return None
        return Widening(setting, value, before, count - self.base, maps)


def _settings(model: Mapping[str, Any]) -> Iterator[tuple[str, Number]]:
    """Yield the settings of a model's config that may be raised, with their present values."""
    for part, value in model.items():
        if not isinstance(value, Mapping):
            continue
        if part.endswith("_head") and part != "auxiliary_head":
            yield from _stated(value, part, _OF_HEADS)
        elif part == "neck" and isinstance(value.get("out_channels"), int):
            yield "neck.out_channels", value["out_channels"]
        elif part == "backbone" and not _pretrained(model):
            for key in _OF_BACKBONES:
                if isinstance(value.get(key), (int, float)):
                    yield f"backbone.{key}", value[key]


def _stated(config: Mapping[str, Any], path: str, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _stated(value, f"{path}.{key}", keys)
        elif key in keys and isinstance(value, int) and not isinstance(value, bool):
            yield f"{path}.{key}", value


def _pretrained(model: Mapping[str, Any]) -> bool:
    """Return whether the backbone starts from weights of a file."""
    start = model["backbone"].get("init_cfg")
    entries = start if isinstance(start, (list, tuple)) else [start]
    return bool(model.get("pretrained")) or any(
        isinstance(entry, Mapping) and str(entry.get("type")) == "Pretrained" for entry in entries
    )


def _consumers(model: Mapping[str, Any], part: str) -> list[str]:
    """List the parts that take the feature maps of ``part``."""
    heads = [name for name in model if name.endswith("_head")]
    if part == "backbone" and isinstance(model.get("neck"), Mapping):
        return ["neck", *(["auxiliary_head"] if "auxiliary_head" in heads else [])]
    return heads


def _renumber(config: Any, maps: Mapping[int, int], part: str) -> None:
    """Replace channels of feature maps in ``in_channels``, and in a RoI extractor's output."""
    entries = config if isinstance(config, list) else [config]
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        for key, value in entry.items():
            extracts = key == "out_channels" and "featmap_strides" in entry
            if key == "in_channels" or extracts:
                entry[key] = _mapped(value, maps)
            elif isinstance(value, (dict, list)) and part != "neck":
                _renumber(value, maps, part)


def _mapped(value: Any, maps: Mapping[int, int]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_mapped(entry, maps) for entry in value]
    return maps.get(value, value) if isinstance(value, int) else value
