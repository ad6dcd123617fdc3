"""Promise: blocks are compared in Mask2Former's pixel decoder, of either head, and its backbone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmattn.compare import compare
from mmattn.compare.places import parse_places
from mmattn.config import load_config
from mmattn.errors import ConfigError
from tests.support.comparison_configs import MASK2FORMER, MASK2FORMER_INSTANCE

PLACES = {
    MASK2FORMER: ["decode_head.pixel_decoder.output_convs.*", "backbone.layer2.*"],
    MASK2FORMER_INSTANCE: ["panoptic_head.pixel_decoder.output_convs.*", "backbone.layer2.*"],
}


@pytest.mark.slow
@pytest.mark.parametrize("config", PLACES, ids=["semantic", "instance"])
def test_blocks_are_checked_there_without_training(config: str, tmp_path: Path) -> None:
    lines: list[str] = []
    compare(
        config,
        "none,SE",
        PLACES[config],
        budget="2it",
        seeds=1,
        controls=False,
        match_time=False,
        work_dir=str(tmp_path),
        dry_run=True,
        log=lines.append,
    )
    text = "\n".join(lines)
    head = PLACES[config][0].partition(".")[0]
    assert "SE" in text
    part = load_config(tmp_path / "configs/SE.py").model[head]
    assert part.type == "mmattn.WithPlugins"
    (entry,) = part.plugins
    assert entry["at"] == "pixel_decoder.output_convs.*"
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize("config", PLACES, ids=["semantic", "instance"])
def test_a_head_alone_is_no_place(config: str) -> None:
    head = PLACES[config][0].partition(".")[0]
    with pytest.raises(ConfigError, match=rf"a head returns predictions.*{head}\.pixel_decoder"):
        parse_places([head], load_config(config))


@pytest.mark.slow
def test_blocks_in_the_pixel_decoder_are_trained_and_compared(tmp_path: Path) -> None:
    compare(
        MASK2FORMER,
        "none,SE",
        PLACES[MASK2FORMER][:1],
        budget="1it",
        seeds=1,
        controls=False,
        match_time=False,
        work_dir=str(tmp_path),
        log=lambda text: None,
    )
    report = json.loads((tmp_path / "report.json").read_text())
    none, block = report["variants"]
    # SE on 32 channels with reduction 16: two layers of 32 x 2, biases 2 and 32.
    added = block["cost"]["parameters"] - none["cost"]["parameters"]
    assert added == 2 * 32 * 2 + 2 + 32
    for row in (none, block):
        assert 0 <= row["mean"] <= 100
    (weights,) = (tmp_path / "runs/SE/seed0").rglob("*.pth")
    keys = torch.load(weights, map_location="cpu", weights_only=False)["state_dict"]
    assert any(key.startswith("decode_head.plugins.") for key in keys)
