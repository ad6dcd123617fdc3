"""Compile the parts of a model that are functions of tensors with ``torch.compile``.

mmengine's ``compile=`` compiles ``train_step``: data samples, matching and the optimiser with the
network. Most of that is Python that a compiler cannot take in; it falls apart into many small
graphs, or fails. Backbone, neck and dense heads map tensors to tensors, so they compile whole, and
are where the time goes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from torch import nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.inference.model import unwrap_model
from mmattn.registry import HOOKS
from mmattn.tasks import TASKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

_PARTS = tuple(dict.fromkeys(part for task in TASKS for part in task.compilable_parts))


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the ``forward`` of some parts of the model while it trains.

    Weights and their names do not change. Validation runs uncompiled, since its images may have
    many sizes, each of which would be compiled; ``validation=True`` includes it.

    Args:
        parts: Dotted names of submodules; by default the backbone, neck and dense heads that the
            model has (``compilable_parts`` in ``mmattn.tasks``).
        validation: Compile for validation and testing as well. In a test after FuseHook, the fused
            model is compiled; parts that fusing removed are skipped.
        **options: Passed on to ``torch.compile`` (``backend``, ``mode``, ``dynamic``, …).

    Raises:
        ConfigError: The model does not have a part.
    """

    priority = "LOWEST"  # after FuseHook, which replaces the model by the fused one

    def __init__(
        self, parts: Sequence[str] | None = None, *, validation: bool = False, **options: Any
    ) -> None:
        self.parts = parts
        self.validation = validation
        self.options = options

    def before_run(self, runner: Runner) -> None:
        names = _modules(runner)
        for part in self.parts or ():
            if part not in names:
                raise ConfigError(
                    f"CompileHook: the model has no part {part!r}.{did_you_mean(part, names)}"
                )

    def before_train(self, runner: Runner) -> None:
        self._compile(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        if self.validation:
            self._compile(runner)

    def _compile(self, runner: Runner) -> None:
        names = _modules(runner)
        parts = [name for name in self.parts or _PARTS if name in names]
        for part in parts:
            if not isinstance(names[part].forward, _CompiledForward):
                names[part].forward = _CompiledForward(
                    names[part], self.validation, torch.compile(names[part].forward, **self.options)
                )
        runner.logger.info(
            f"torch.compile: {', '.join(parts)}. The first steps take long: they compile."
        )


def _modules(runner: Runner) -> dict[str, nn.Module]:
    return dict(unwrap_model(runner).named_modules())


class _CompiledForward:
    """Replace ``module.forward``: heads call it directly, past a wrapped ``__call__``."""

    def __init__(self, module: nn.Module, always: bool, compiled: Callable) -> None:
        self.plain = module.forward
        # Not as an attribute of a module: it would become its own submodule.
        self.is_training = lambda: module.training
        self.always = always
        self.compiled = compiled

    # FuseHook, EMAHook and others copy a model after it was compiled. The compiled function refers
    # to the module that it was compiled for, so that a copy would run the weights of the original:
    # a copied module gets the plain forward, bound to itself.
    def __deepcopy__(self, memo: dict) -> Callable:
        return copy.deepcopy(self.plain, memo)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        chosen = self.compiled if self.always or self.is_training() else self.plain
        return chosen(*args, **kwargs)
