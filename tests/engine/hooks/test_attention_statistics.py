"""Statistics of attention are logged every n-th validation, and the training never notices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmattn.engine.hooks.attention_statistics import AttentionStatisticsHook
from mmattn.errors import ConfigError

HOOK = {"type": "mmattn.AttentionStatisticsHook", "images": 2}


def lines(runner) -> list[dict]:
    file = Path(runner.log_dir) / "vis_data" / "attention_statistics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_every_second_validation(runner) -> None:
    built = runner([{**HOOK, "interval": 2}], **{"model.decode_head": ccnet_head()})
    built.train()
    found = lines(built)
    assert len(found) == 1 and found[0]["images"] == 2 and found[0]["iter"] == 4
    assert set(found[0]["layers"]) == {"decode_head.cca, pass 1", "decode_head.cca, pass 2"}
    for layer in found[0]["layers"].values():
        assert 0 <= layer["normalized_entropy"][0] <= 1
        assert layer["effective_keys"][0] > 1 and layer["mean_distance"][0] > 0
        assert 0 <= layer["nmi"][0] <= 1
    assert not any(module._forward_hooks for module in built.model.modules())


def test_a_network_without_attention_is_refused(runner) -> None:
    built = runner([HOOK])
    with pytest.raises(ConfigError, match="no attention is known there"):
        built.train()
    assert built.iter == 0  # not behind the first validation


def test_what_cannot_be_measured_does_not_end_a_training(runner, monkeypatch, caplog) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("recomputed otherwise")

    monkeypatch.setattr(AttentionStatisticsHook, "_measure", refuse)
    built = runner([HOOK], **{"model.decode_head": ccnet_head()})
    built.train()
    assert built.iter == built.max_iters and lines(built) == []


def test_a_training_is_bit_for_bit_the_same_with_the_hooks(runner) -> None:
    """Neither statistics of attention nor the report of the run change what is learnt."""
    seeded = {"model.decode_head": ccnet_head(), "randomness": {"seed": 5}}
    trained = []
    for hooks in ([], [HOOK, {"type": "mmattn.RunReportHook"}]):
        built = runner(hooks, **seeded)
        built.train()
        trained.append((built.model.state_dict(), torch.get_rng_state()))
    (plain, state), (watched, state_of_watched) = trained
    assert plain.keys() == watched.keys()
    assert all(torch.equal(plain[key], watched[key]) for key in plain)
    assert torch.equal(state, state_of_watched)


def test_a_statistic_that_an_image_lacks_counts_for_the_others_alone() -> None:
    hook = AttentionStatisticsHook()
    for found in ({"nmi": 0.2}, {"nmi": 0.4, "mean_distance": 8.0}, {"nmi": 0.6}):
        hook._add("layer", {key: np.array([value]) for key, value in found.items()})
    assert hook._means()["layer"] == {"nmi": pytest.approx(0.4), "mean_distance": 8.0}


def test_arguments_are_checked() -> None:
    with pytest.raises(ConfigError, match="interval=0 and images=4 must be at least 1"):
        AttentionStatisticsHook(interval=0)


def ccnet_head() -> dict:
    return {
        "_delete_": True,
        "type": "mmattn.CCHead",
        "in_channels": 64,
        "in_index": 3,
        "channels": 16,
        "num_classes": 10,
        "norm_cfg": {"type": "GN", "num_groups": 4},
        "align_corners": False,
        "recurrence": 2,
    }
