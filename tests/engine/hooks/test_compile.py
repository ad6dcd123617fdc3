"""Compiled parts compute what they computed before, and leave weights and names alone."""

from __future__ import annotations

import pytest
import torch

from mmattn.errors import ConfigError

COMPILE = {"type": "mmattn.CompileHook", "backend": "aot_eager", "fullgraph": True}


def weights(built) -> dict[str, torch.Tensor]:
    built.train()
    return built.model.state_dict()


@pytest.mark.slow
def test_a_compiled_training_is_the_same_training(runner, tmp_path) -> None:
    from torch._dynamo.utils import counters

    plain = weights(runner([], tmp_path / "plain"))
    counters.clear()
    built = runner([COMPILE], tmp_path / "compiled")
    compiled = weights(built)
    assert counters["stats"]["unique_graphs"] == 2, "backbone and head, a graph each"
    assert not counters["graph_break"]
    assert compiled.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-5)
    # Validation was not compiled, though its images came one by one.
    assert built.model.backbone.forward.plain.__self__ is built.model.backbone


@pytest.mark.slow
def test_a_compiled_head_with_averaged_weights(runner, tmp_path) -> None:
    """EMA copies the model before it is compiled, and swaps its weights for each validation."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    ema, options = {"type": "EMAHook"}, {"train_cfg.max_iters": 2}
    hooks = [{**COMPILE, "parts": ["decode_head"]}, ema]
    compiled = weights(runner(hooks, tmp_path / "compiled", **options))
    assert counters["stats"]["unique_graphs"] == 1, "validation ran uncompiled"
    plain = weights(runner([ema], tmp_path / "plain", **options))
    assert compiled.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_parts_that_are_not_there_are_refused(runner) -> None:
    with pytest.raises(ConfigError, match=r"no part 'back_bone'\. Did you mean 'backbone'"):
        runner([{**COMPILE, "parts": ["back_bone"]}]).train()
