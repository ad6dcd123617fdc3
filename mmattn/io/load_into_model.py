"""Load weights into a model and report which of them matched."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from mmattn.errors import CheckpointError
from mmattn.tasks import TASKS

_logger = logging.getLogger(__name__)
_TRAINING_ONLY = tuple({prefix for task in TASKS for prefix in task.training_only})
_KNOWN_PREFIXES = ("module.", "backbone.", "model.", "state_dict.")


@dataclass(frozen=True)
class LoadReport:
    """Comparison of a checkpoint's weights with those of the model that they were loaded into.

    Attributes:
        matched: Number of the model's weights that were loaded.
        total: Number of the model's weights. BatchNorm's ``num_batches_tracked`` is not counted.
        missing: Weights of the model that the checkpoint lacks.
        unexpected: Weights of the checkpoint that the model lacks.
        mismatched: Weights of other shapes: name -> (shape in the checkpoint, in the model).
        newly_added: Those of ``missing`` that belong to blocks which were inserted into a network
            that was trained without them (``mmattn.plugins.blocks``).
        identity: Those of ``newly_added`` whose blocks start as the identity.
        plain_form: Names of blocks in the identity form that were loaded from weights of the plain
            form (``mmattn.plugins.identity``).
    """

    matched: int
    total: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    newly_added: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    plain_form: tuple[str, ...] = ()

    @property
    def missing_required(self) -> tuple[str, ...]:
        """Missing weights that are not ``newly_added``: the checkpoint should have had them."""
        newly_added = set(self.newly_added)
        return tuple(key for key in self.missing if key not in newly_added)

    @property
    def uninitialized(self) -> tuple[str, ...]:
        """Weights that keep their initial values though inference uses them.

        An ``auxiliary_head`` is not among them: it serves training alone.
        """
        kept = (*self.missing, *self.mismatched)
        return tuple(key for key in kept if not key.startswith(_TRAINING_ONLY))

    @property
    def complete(self) -> bool:
        """Return whether checkpoint and model have the same weights."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        """One line: ``matched 265/267 weights; missing: decode_head.conv_seg (2)``.

        With blocks that the checkpoint does not know, weights of the host are counted apart:
        ``host 318 of 318, new 12 (initialised as the identity): plugins.* (12)``.
        """
        if self.newly_added:
            new = len(self.newly_added)
            parts = [
                f"host {self.matched} of {self.total - new}, new {new} ({self._initial_state()}): "
                f"{_grouped(self.newly_added)}"
            ]
        else:
            parts = [f"matched {self.matched}/{self.total} weights"]
        if self.plain_form:
            parts.append(
                f"weights of the plain form, with residual_scale = 1: {_grouped(self.plain_form)}"
            )
        if self.missing_required:
            parts.append(f"missing: {_grouped(self.missing_required)}")
        if self.unexpected:
            parts.append(f"unexpected: {_grouped(self.unexpected)}")
        if self.mismatched:
            shown = [f"{k} {a} for {b}" for k, (a, b) in list(self.mismatched.items())[:4]]
            more = len(self.mismatched) - len(shown)
            parts.append("other shape: " + ", ".join(shown) + (f" and {more} more" * (more > 0)))
        return "; ".join(parts)

    def _initial_state(self) -> str:
        """Say how the blocks that the checkpoint does not know start."""
        others = len(self.newly_added) - len(self.identity)
        if not others:
            return "initialised as the identity"
        if not self.identity:
            return "with their initial values"
        return f"{len(self.identity)} initialised as the identity, {others} with initial values"


def load_state_dict(
    model: nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    *,
    strict: bool = False,
    source: str = "",
) -> LoadReport:
    """Load weights into ``model`` and log, in one line, how many matched.

    Args:
        model: Network to load; it is changed in place.
        state_dict: Weights by name.
        strict: Refuse anything but exactly the model's weights.
        source: File or address of the weights, for messages.

    Raises:
        CheckpointError: If no weight matches (the message says which prefix would make them), or
            if ``strict`` and anything is missing, unexpected or of another shape.
    """
    report = load_into(model, state_dict, strict=strict, source=source)
    level = logging.INFO if report.complete else logging.WARNING
    _logger.log(level, "%s%s", f"{source}: " if source else "", report)
    return report


def require_complete(report: LoadReport, source: str) -> None:
    """Refuse a checkpoint that left weights which inference uses at their initial values.

    Args:
        report: Result of loading the checkpoint.
        source: File or address of the checkpoint, for the message.

    Raises:
        CheckpointError: Weights are missing or have another shape.
    """
    if report.uninitialized:
        raise CheckpointError(
            f"{source}: {len(report.uninitialized)} of the model's {report.total} weights would "
            f"stay random, so this is not a checkpoint of that config: {report}. Give the config "
            "of the training (it lies beside the checkpoint), or accept the checkpoint as it is "
            "with --allow-partial."
        )


def normalize_checkpoint(checkpoint: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """Return a checkpoint whose weights are under ``state_dict``, without a ``module.`` prefix.

    Files of bare weights and those of data-parallel models come out alike.

    Raises:
        CheckpointError: What is under ``state_dict`` is not a dictionary.
    """
    content = dict(checkpoint) if "state_dict" in checkpoint else {"state_dict": checkpoint}
    weights = content["state_dict"]
    if not isinstance(weights, Mapping):
        raise CheckpointError(
            f"{source or 'The checkpoint'}: its 'state_dict' is a {type(weights).__name__}, not a "
            "dictionary of weights."
        )
    if weights and all(str(key).startswith("module.") for key in weights):
        bare = OrderedDict((key.removeprefix("module."), weights[key]) for key in weights)
        versions = getattr(weights, "_metadata", {})
        # Where torch keeps the versions of the modules.
        vars(bare)["_metadata"] = {k.removeprefix("module")[1:]: versions[k] for k in versions}
        content["state_dict"] = bare
    return content


def _unwrapped(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, DataParallel | DistributedDataParallel) else module


def load_into(
    model: nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    *,
    strict: bool = False,
    source: str = "",
    unwrap: Callable[[nn.Module], nn.Module] = _unwrapped,
) -> LoadReport:
    """Copy weights into ``model`` and report what matched; every load of mmattn ends here.

    Args:
        model: Network to load; it is changed in place.
        state_dict: Weights by name.
        strict: Refuse anything but exactly the model's weights.
        source: File or address of the weights, for messages.
        unwrap: Function that returns the module inside a wrapper whose name is no part of the keys.

    Raises:
        CheckpointError: As ``load_state_dict`` says.
    """
    loader = _StateDictLoader(getattr(state_dict, "_metadata", None) or {}, unwrap)
    loader.visit(model, dict(state_dict), "")
    report = loader.report()
    where = f"{source}: " if source else ""
    if report.total and not report.matched:
        raise CheckpointError(where + _why_nothing(loader.names, state_dict, report))
    if strict and not report.complete:
        raise CheckpointError(f"{where}does not fit strictly: {report}.")
    return report


class _StateDictLoader:
    """Walk a model and hand each module its part, as ``nn.Module.load_state_dict`` does.

    That method raises on shapes that differ, after the rest is loaded, and then keeps what it
    found out to itself; its steps are repeated here to have the lists. Modules' own renaming of
    old keys (``_load_from_state_dict``) works as ever.
    """

    def __init__(self, metadata: Mapping, unwrap: Callable[[nn.Module], nn.Module]):
        self.names: list[str] = []
        self.missing_keys: list[str] = []
        self._newly_added: list[str] = []
        self._identity: list[str] = []
        self._plain_form: list[str] = []
        self.unexpected_keys: list[str] = []
        self._shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._other: list[str] = []
        self._metadata = metadata
        self._unwrap = unwrap

    def visit(self, module: nn.Module, weights: dict, prefix: str) -> None:
        module = self._unwrap(module)
        if getattr(module, "allow_missing_keys", False) and not any(
            k.startswith(prefix) for k in weights
        ):
            self._newly_added.append(prefix)
            if getattr(module, "starts_as_identity", False):
                self._identity.append(prefix)
        own = {**module._parameters, **module._buffers}
        own = {
            prefix + name: value
            for name, value in own.items()
            if value is not None and name not in module._non_persistent_buffers_set
        }
        self.names += [name for name in own if not name.endswith("num_batches_tracked")]
        errors: list[str] = []
        module._load_from_state_dict(
            weights,
            prefix,
            self._metadata.get(prefix[:-1], {}),
            True,
            self.missing_keys,
            self.unexpected_keys,
            errors,
        )
        if getattr(module, "loaded_plain_form", False):
            self._plain_form.append(prefix.rstrip("."))
        for error in errors:
            self._note(error, weights, own)
        for name, child in module._modules.items():
            if child is not None:
                start = f"{prefix}{name}."
                part = {key: value for key, value in weights.items() if key.startswith(start)}
                self.visit(child, part, start)
        for hook in module._load_state_dict_post_hooks.values():
            hook(module, self)  # it may edit missing_keys and unexpected_keys in place

    def _note(self, error: str, weights: dict, own: dict) -> None:
        """Turn one of torch's messages into a pair of shapes."""
        for name, value in own.items():
            if f" {name}:" in error and name in weights:
                self._shapes[name] = (tuple(weights[name].shape), tuple(value.shape))
                return
        self._other.append(error)

    def report(self) -> LoadReport:
        if self._other:
            raise CheckpointError("; ".join(self._other))
        missing = [key for key in self.missing_keys if "num_batches_tracked" not in key]
        not_loaded = (set(missing) | set(self._shapes)) & set(self.names)
        newly_added = tuple(key for key in missing if key.startswith(tuple(self._newly_added)))
        return LoadReport(
            matched=len(self.names) - len(not_loaded),
            total=len(self.names),
            missing=tuple(missing),
            unexpected=tuple(self.unexpected_keys),
            mismatched=self._shapes,
            newly_added=newly_added,
            identity=tuple(key for key in newly_added if key.startswith(tuple(self._identity))),
            plain_form=tuple(self._plain_form),
        )


def _why_nothing(names: list[str], state_dict: Mapping, report: LoadReport) -> str:
    """Explain why no weight of the checkpoint fits the model."""
    if not state_dict:
        return f"holds no weights; the model has {report.total}."
    if report.mismatched:
        return f"no weight fits: {report}."
    inner = [key for key in ("state_dict", "model", "ema") if isinstance(state_dict.get(key), dict)]
    text = (
        f"none of its {len(state_dict)} entries is one of the model's {len(names)} weights. It has "
        f"{_examples(state_dict)}; the model has {_examples(names)}."
    )
    if inner:
        return (
            f"{text} The weights are one level deeper, under {inner[0]!r}: pass that part, or "
            "convert the file with mmattn convert."
        )
    return text + _prefix_hint(set(names), list(state_dict))


def _prefix_hint(names: set[str], keys: list[str]) -> str:
    """Suggest the prefix that, removed or added, makes most keys match; "" if none does."""
    heads = {key.split(".", 1)[0] + "." for key in keys if "." in key}
    stripped = {
        head: sum(key.startswith(head) and key[len(head) :] in names for key in keys)
        for head in {*_KNOWN_PREFIXES, *heads}
    }
    heads = {name.split(".", 1)[0] + "." for name in names if "." in name}
    added = {head: sum(head + key in names for key in keys) for head in {*_KNOWN_PREFIXES, *heads}}
    off, on = max(stripped, key=stripped.__getitem__), max(added, key=added.__getitem__)
    if stripped[off] >= added[on] and stripped[off]:
        return f" Without the prefix {off!r}, {stripped[off]} of {len(names)} would match."
    if added[on]:
        return f" With the prefix {on!r} put before them, {added[on]} of {len(names)} would match."
    return ""


def _examples(keys: Iterable[str], limit: int = 3) -> str:
    keys = [repr(key) for key in keys]
    return ", ".join(keys[:limit]) + (", …" if len(keys) > limit else "")


def _grouped(keys: Iterable[str], limit: int = 6) -> str:
    """Group names and count them: ``decode_head.conv_seg (2), backbone.layer4 (30)``."""
    keys = list(keys)
    paths = [key.split(".") for key in keys]
    deepest = max(len(path) for path in paths)
    groups: Counter[str] = Counter(path[0] for path in paths)
    for depth in range(2, deepest + 1):
        finer = Counter(".".join(path[:depth]) for path in paths)
        if len(finer) > limit:
            break
        groups = finer
    shown = [
        name if count == 1 and name in set(keys) else f"{name}.* ({count})"
        for name, count in groups.most_common(limit)
    ]
    return ", ".join(shown) + (", …" if len(groups) > limit else "")
