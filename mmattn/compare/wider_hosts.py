"""The wider hosts of a comparison: found once, checked, and kept for later starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmattn.errors import MMAttnError
from mmattn.inference.model import strip_pretrained
from mmattn.plugins.dry_run import dry_run

from .plan import Comparison, widening_of
from .variants import BASE, Variant, wider_host
from .width import Widening, WidthSearch, plan_widths

if TYPE_CHECKING:
    from mmengine.config import Config

NOTHING = "no setting of heads, neck or backbone that the config states can be raised that far"


def choose_wider_hosts(
    comparison: Comparison, parameters: Mapping[str, int], fits: Callable[[Variant], None]
) -> None:
    """Add the wider hosts that the blocks of a comparison need.

    Args:
        comparison: The comparison; ``widenings``, ``no_width`` and ``variants`` are filled.
        parameters: Parameters of each variant, by label.
        fits: Function that writes and checks the config of a variant, and raises MMAttnError.
    """
    blocks = {
        variant.label: parameters[variant.label] - parameters[BASE]
        for variant in comparison.variants
        if variant.block is not None
    }
    known = {widening_of(entry): entry["of"] for entry in comparison.widenings}
    settled = {label for labels in known.values() for label in labels} | set(comparison.no_width)
    missing = {label: count for label, count in blocks.items() if label not in settled}
    for label in [label for label, count in missing.items() if count <= 0]:
        comparison.no_width[label] = "it adds no parameters"
        del missing[label]
    if missing:
        search = WidthSearch(comparison.cfg.to_dict()["model"], _counter(comparison.cfg), _channels)
        refused: list[str] = []

        def find(count: int) -> Widening | None:
            while (found := search.find(count, refused)) is not None:
                try:
                    fits(wider_host(found))
                    return found
                except MMAttnError:
                    refused.append(found.setting)
            return None

        hosts, chosen = plan_widths(missing, find, list(known))
        for host in hosts:
            labels = [label for label, own in chosen.items() if own == host]
            known[host] = [*known.get(host, []), *labels]
        for label in missing:
            if label not in chosen:
                comparison.no_width[label] = NOTHING
    comparison.widenings = [{**host.to_json(), "of": labels} for host, labels in known.items()]
    comparison.add_wider_hosts()


def _counter(cfg: Config) -> Callable[[Mapping[str, Any]], int | None]:
    """Return a function that counts the parameters of a model's config."""

    def count(model: Mapping[str, Any]) -> int | None:
        network = _build(model)
        return None if network is None else sum(p.numel() for p in network.parameters())

    return count


def _build(config: Mapping[str, Any]) -> nn.Module | None:
    """Build a network without memory for its weights, where it can be built so; None if never."""
    from mmengine.registry import MODELS

    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng(), torch.device(device):
                return MODELS.build(strip_pretrained(deepcopy(dict(config))))
        except Exception:  # whatever a network raises about a number that is not for it
            continue
    return None


def _channels(model: Mapping[str, Any], part: str) -> tuple[int, ...] | None:
    """Return the channels of the feature maps of a part; None if it cannot be built or run."""
    from mmengine.registry import MODELS

    try:
        with torch.random.fork_rng():
            network = MODELS.build(strip_pretrained(deepcopy(model[part])))
        returned = dry_run(network, [""])[""].outputs[0]
    except Exception:  # whatever a network raises about a number that is not for it
        return None
    maps = [returned] if isinstance(returned, tuple) else returned
    return tuple(shape[1] for shape in maps)
