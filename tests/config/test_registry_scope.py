"""Errors of mmengine's registries become ConfigErrors; their English is read, so it is pinned here.

Each error is raised for real: a new wording of mmengine or Python would fail here instead of
reaching users as a traceback.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mmengine import registry
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import nn, optim

from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.errors import ConfigError


@pytest.fixture(autouse=True)
def scope():
    enter_scope(Config({"default_scope": "mmseg"}))
    yield
    init_default_scope("mmengine")


def optimizer() -> OptimWrapper:
    return OptimWrapper(optim.SGD(nn.Linear(1, 1).parameters(), 0.1))


NOT_REGISTERED = {
    "model": lambda: registry.MODELS.build({"type": "FCNHed"}),
    "dataset": lambda: registry.DATASETS.build({"type": "CityscapesDatset"}),
    "transform": lambda: registry.TRANSFORMS.build({"type": "LoadAnotations"}),
    "metric": lambda: registry.METRICS.build({"type": "IoUMetrik"}),
    "hook": lambda: registry.HOOKS.build({"type": "EMAHok"}),
    # These two leave the scope out.
    "runner": lambda: registry.RUNNERS.build(Config({"runner_type": "Runer"})),
    "parameter scheduler": lambda: registry.PARAM_SCHEDULERS.build(
        {"type": "PolyLRR"}, default_args={"optimizer": optimizer()}
    ),
}
NEAREST = ["FCNHead", "CityscapesDataset", "LoadAnnotations", "IoUMetric", "EMAHook", "Runner",
           "PolyLR"]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "nearest"),
    list(zip(NOT_REGISTERED.values(), NEAREST, strict=True)),
    ids=list(NOT_REGISTERED),
)
def test_a_name_that_is_not_registered(build: Callable, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught, explain_registry_errors("folder/a.py"):
        build()
    message = str(caught.value)
    assert message.startswith("folder/a.py: type=")
    assert "is not a registered" in message
    assert repr(nearest) in message
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_forgotten_prefix_is_offered() -> None:
    words = r"Did you mean 'mmattn\.TimmBackbone'"
    with pytest.raises(ConfigError, match=words), explain_registry_errors():
        registry.MODELS.build({"type": "TimmBackbone"})


def test_an_argument_that_a_class_lacks() -> None:
    with pytest.raises(ConfigError) as caught, explain_registry_errors("a.py"):
        registry.MODELS.build(
            {"type": "FCNHead", "in_channels": 4, "channels": 4, "num_classes": 2, "dropout": 0.1}
        )
    assert str(caught.value).startswith("a.py: unexpected argument 'dropout' for ")
    assert "'dropout_ratio'" in str(caught.value)


def test_an_argument_that_a_registered_function_lacks() -> None:
    @registry.MODELS.register_module(name="PinnedBuilder")
    def pinned_builder(depth: int) -> None:
        raise AssertionError

    try:
        words = r"unexpected argument 'dept' for .*mean 'depth'"
        with pytest.raises(ConfigError, match=words), explain_registry_errors():
            registry.MODELS.build({"type": "PinnedBuilder", "dept": 1})
    finally:
        registry.MODELS.module_dict.pop("PinnedBuilder")


def test_other_errors_pass_as_they_are() -> None:
    """They are bugs of code, not of a config, and keep their traceback."""

    def helper(depth: int) -> None: ...

    for error, call in {
        TypeError: lambda: helper(dept=1),
        KeyError: lambda: {}["is not there"],
        ImportError: lambda: __import__("no_such_package_of_anybody"),
    }.items():
        with pytest.raises(error) as caught, explain_registry_errors("a.py"):
            call()
        assert not isinstance(caught.value, ConfigError)


def test_a_config_error_gets_the_path_once() -> None:
    for message in ("wrong", "a.py: wrong"):
        with pytest.raises(ConfigError) as caught, explain_registry_errors("a.py"):
            raise ConfigError(message)
        assert str(caught.value) == "a.py: wrong"
