"""Promise: ``mmattn data browse`` shows the images, boxes, masks and classes of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.errors import ConfigError
from mmattn.inference.browse import browse, draw_sample
from mmattn.inference.datasets import build_dataset

CONFIGS = Path(__file__).resolve().parents[1] / "support/configs"


@pytest.fixture(autouse=True)
def shapes(shapes_root: Path, monkeypatch) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(shapes_root))


@pytest.mark.parametrize("name", ["tiny_fcn.py", "tiny_retinanet.py"])
def test_samples_and_a_sheet_are_written(name: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "seen"
    words = ["data", "browse", str(CONFIGS / name), "--out", str(out), "--num", "2", "--times", "2"]
    assert main(words) == 0
    assert "4 samples of train" in capsys.readouterr().out
    files = sorted(file.name for file in out.iterdir())
    assert len(files) == 5 and files[-1] == "contact_sheet.jpg"
    sheet = np.asarray(Image.open(out / "contact_sheet.jpg"))
    sides = Image.open(out / files[0]).size  # all are alike
    height = 2 * (8 + round(320 * sides[1] / max(sides)) + 22)
    width = 2 * (320 + 8) + 8
    assert sheet.shape[1] == width and sheet.shape[0] > height, "a legend is below the images"
    assert (sheet[:, 330:334] > 240).all(where=np.arange(len(sheet))[:, None, None] < height)
    assert (sheet[height:] < 200).any(), "something is written there"


@pytest.mark.parametrize("name", ["tiny_fcn.py", "tiny_retinanet.py"])
def test_the_ground_truth_is_painted_and_colours_are_right(name: str) -> None:
    dataset = build_dataset(load_config(CONFIGS / name), "train")
    classes = dataset.metainfo["classes"]
    palette = [tuple(colour) for colour in dataset.metainfo["palette"]]
    sample = dataset[0]
    image = sample["inputs"].numpy()[::-1].transpose(1, 2, 0)  # mmcv loads BGR
    drawn = draw_sample(sample, classes, palette)
    assert drawn.shape == image.shape
    truth = sample["data_samples"]
    if "gt_instances" in truth:
        box = truth.gt_instances.bboxes[0]
        left, top, right, bottom = getattr(box, "tensor", box).reshape(4).round().int().tolist()
        assert (drawn != image).any(-1)[max(top, 0) : bottom + 1, max(left, 0) : right + 1].any()
        far = np.ones(image.shape[:2], bool)
        for x0, y0, x1, y1 in getattr(truth.gt_instances.bboxes, "tensor", None).int().tolist():
            far[max(y0 - 20, 0) : y1 + 20, max(x0 - 20, 0) : x1 + 120] = False
        assert (drawn == image)[far].all()
    else:
        assert (drawn != image).any()


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    cfg = load_config(CONFIGS / "tiny_fcn.py")
    first, second = (browse(cfg, tmp_path / name, num=2, seed=3) for name in "ab")
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no single image: its inputs are a dict"):
        draw_sample({"inputs": {}, "data_samples": object()}, (), ())


def test_a_split_that_is_not_there_is_named() -> None:
    cfg = load_config(CONFIGS / "tiny_fcn.py")
    cfg.pop("val_dataloader")
    with pytest.raises(ConfigError, match="has no val_dataloader"):
        build_dataset(cfg, "val")
