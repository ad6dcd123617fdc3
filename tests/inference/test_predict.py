"""Promise: images of no dataset are predicted and written, or named when they cannot be.

That the predictions are those of ``mmattn test`` is tested with docs/train_on_your_data.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmattn.config import load_config
from mmattn.errors import ConfigError, DataError
from mmattn.inference import build_model, predict_images
from tests.support.comparison_configs import MASK2FORMER_PANOPTIC

CLASSES = ["sky", "road", "car"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A tiny network without training, and its weights."""
    root = tmp_path_factory.mktemp("network")
    (root / "tiny.py").write_text(
        "default_scope = 'mmseg'\n"
        "model = dict(type='EncoderDecoder', train_cfg=dict(), test_cfg=dict(mode='whole'),\n"
        "    data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, size=(32, 32),\n"
        "        mean=[0.0] * 3, std=[255.0] * 3),\n"
        "    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),\n"
        "    decode_head=dict(type='FCNHead', in_channels=32, in_index=3, channels=4,\n"
        "        num_convs=1, num_classes=3))\n"
        "test_dataloader = dict(dataset=dict(type='mmattn.FolderSegDataset', pipeline=[\n"
        "    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 48)),\n"
        "    dict(type='mmattn.LoadFolderMask'), dict(type='PackSegInputs')]))\n"
    )
    cfg = load_config(root / "tiny.py")
    torch.manual_seed(0)
    state = build_model(cfg).state_dict()
    meta = {"dataset_meta": {"classes": CLASSES, "palette": [[255, 0, 0], [0, 255, 0]]}}
    torch.save({"state_dict": state, "meta": meta}, root / "tiny.pth")
    return cfg, root / "tiny.pth"


def image(path: Path, *size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    return path


def test_maps_overlays_and_names_are_written(network: tuple, tmp_path: Path) -> None:
    alone = image(tmp_path / "a.png", 50, 70)
    folder = image(tmp_path / "more/b.JPG", 40, 30).parent
    lines: list[str] = []
    written = predict_images(*network, [alone, folder], tmp_path / "out/new", log=lines.append)
    assert [path.name for path in written] == ["a.png", "b.png"]
    for path, size in zip(written, ((50, 70), (40, 30)), strict=True):
        classes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert classes.shape == size and classes.max() < 3
        overlay = cv2.imread(str(path.with_name(f"{path.stem}_overlay.jpg")))
        assert overlay.shape[0] > size[0] and overlay.shape[1:] == (size[1], 3), "no legend"
        shares = [f"{np.mean(classes == i):.1%}" for i in np.unique(classes)]
        (line,) = [line for line in lines if f"{path.stem}." in line]
        assert all(share in line for share in shares)
    assert json.loads((tmp_path / "out/new/classes.json").read_text()) == CLASSES


def test_without_a_legend_the_overlay_has_the_size_of_the_image(
    network: tuple, tmp_path: Path
) -> None:
    file = image(tmp_path / "a.png", 50, 70)
    predict_images(*network, [file], tmp_path / "out", legend=False)
    assert cv2.imread(str(tmp_path / "out/a_overlay.jpg")).shape == (50, 70, 3)


def test_each_image_is_decoded_once(network: tuple, tmp_path: Path, monkeypatch) -> None:
    files = [image(tmp_path / f"in/{name}.png", 20, 30) for name in "abc"]
    decoded, decode = [], cv2.imdecode

    def count(*args):
        decoded.append(args)
        return decode(*args)

    monkeypatch.setattr(cv2, "imdecode", count)
    predict_images(*network, files, tmp_path / "out")
    assert len(decoded) == len(files)


@pytest.mark.parametrize(
    "loader",
    [
        {"type": "LoadImageFromFile"},
        {"type": "LoadImageFromFile", "to_float32": True},
        {"type": "LoadImageFromFile", "imdecode_backend": "pillow"},
    ],
)
def test_the_overlay_shows_the_image_whatever_loaded_it(
    network: tuple, tmp_path: Path, loader: dict
) -> None:
    cfg = network[0].copy()
    pipeline = [loader, *cfg.test_dataloader["dataset"]["pipeline"][1:]]
    cfg.test_dataloader = {"dataset": {"type": "mmattn.FolderSegDataset", "pipeline": pipeline}}
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), np.full((20, 30, 3), (200, 100, 20), np.uint8))
    predict_images(cfg, network[1], [file], tmp_path / "out", opacity=0.0)
    painted = cv2.imread(str(tmp_path / "out/a_overlay.jpg"))[:20]
    # In grey: 0.299 red + 0.587 green + 0.114 blue; 121 if red and blue were exchanged.
    assert abs(np.median(painted) - 87) < 4


def test_what_cannot_be_predicted_is_named(network: tuple, tmp_path: Path) -> None:
    good = image(tmp_path / "x/a.png", 20, 20)
    other = image(tmp_path / "x/a.jpg", 20, 20)
    (tmp_path / "z").mkdir()
    (tmp_path / "broken.png").write_bytes(good.read_bytes()[:60])
    for images, said in (
        ([tmp_path / "gone.png"], r"gone\.png: no such image or folder; 'gone\.png' is not in "),
        ([tmp_path / "z"], "z holds no images"),
        ([good, other], r"a\.png and .*a\.jpg would both be written as .*a\.png"),
        ([tmp_path / "broken.png"], r"broken\.png cannot be read"),
    ):
        with pytest.raises(DataError, match=said):
            predict_images(*network, images, tmp_path / "out")


def test_images_of_one_name_keep_their_folders(network: tuple, tmp_path: Path) -> None:
    """As in data with a folder for each patient."""
    for patient in ("Patient 1", "Patient ö"):
        image(tmp_path / "imgs" / patient / "slice 1.tif", 20, 20)
    with pytest.raises(DataError, match=r"holds no images itself; .* 2 images.*'.*imgs/\*\*/\*'"):
        predict_images(*network, [tmp_path / "imgs"], tmp_path / "out")
    for images in ([tmp_path / "imgs/**/*"], (tmp_path / "imgs").iterdir()):
        written = predict_images(*network, images, tmp_path / "out")
        assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in written) == [
            "Patient 1/slice 1.png",
            "Patient ö/slice 1.png",
        ]
        assert len(list((tmp_path / "out").rglob("slice 1_overlay.jpg"))) == 2


def test_one_bad_image_does_not_cost_the_others(network: tuple, tmp_path: Path) -> None:
    folder = image(tmp_path / "in/a.png", 20, 20).parent
    image(folder / "c.png", 20, 20)
    (folder / "b.png").write_bytes(b"")
    cv2.imwrite(str(folder / "d.png"), np.full((20, 20), 4000, np.uint16))
    (folder / "._a.png").write_bytes(b"left by macOS")
    lines: list[str] = []
    deep = use(network[0], {"type": "mmattn.LoadImageFromFile"})
    with pytest.raises(DataError) as caught:
        predict_images(deep, network[1], [folder], tmp_path / "out", log=lines.append)
    said = str(caught.value)
    assert caught.value.exit_code == 4
    assert "2 of 4 images cannot be read; 2 label maps are in" in said
    assert all(word in said for word in ("b.png", "d.png", "bit_depth=12"))
    assert "._a" not in said and "BytesIO" not in said
    assert {path.name for path in (tmp_path / "out").glob("?.png")} == {"a.png", "c.png"}
    assert len(lines) == 4


def test_the_bit_depth_of_the_data_is_that_of_the_prediction(
    network: tuple, tmp_path: Path
) -> None:
    """A 12-bit image gives the label map of its 8-bit copy, with the same overlay."""
    eight = cv2.imread(str(image(tmp_path / "8/a.png", 40, 50)))
    (tmp_path / "12").mkdir()
    cv2.imwrite(str(tmp_path / "12/a.png"), eight.astype(np.uint16) << 4)
    found = []
    for folder, options in {"8": {}, "12": {"bit_depth": 12}}.items():
        cfg = use(network[0], {"type": "mmattn.LoadImageFromFile"}, **options)
        predict_images(cfg, network[1], [tmp_path / folder], tmp_path / "out" / folder)
        names = ("a.png", "a_overlay.jpg")
        found.append([cv2.imread(str(tmp_path / "out" / folder / name)) for name in names])
    for plain, deep in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, deep)


def use(cfg: Config, loader: dict, **options) -> Config:
    """The config with another loader of images, and options of its dataset."""
    cfg = cfg.copy()
    pipeline = [loader, *cfg.test_dataloader["dataset"]["pipeline"][1:]]
    dataset = {"type": "mmattn.FolderSegDataset", "pipeline": pipeline, **options}
    cfg.test_dataloader = {"dataset": dataset}
    return cfg


@pytest.mark.parametrize("form", ["folder", "file", "detour", "link"])
def test_no_result_goes_among_the_images(network: tuple, tmp_path: Path, form: str) -> None:
    """Promise: the folder of the images stays as it is, however it is called."""
    folder = image(tmp_path / "in/a.jpg", 20, 20).parent
    before = (folder / "a.jpg").read_bytes()
    (tmp_path / "link").symlink_to(folder)
    images = folder / "a.jpg" if form == "file" else folder
    out = {"detour": tmp_path / "gone/../in", "link": tmp_path / "link"}.get(form, folder)
    with pytest.raises(DataError, match=f"--out {out} is a folder of the images: .*Give another"):
        predict_images(*network, [images], out)
    assert [(file.name, file.read_bytes()) for file in folder.iterdir()] == [("a.jpg", before)]
    predict_images(*network, [images], folder / "found")


def test_no_result_takes_the_place_of_an_image(network: tuple, tmp_path: Path) -> None:
    original = image(tmp_path / "out/a.png", 20, 20)
    before = original.read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").symlink_to(original)
    with pytest.raises(DataError, match=r"a\.png would be written over .*a\.png"):
        predict_images(*network, [tmp_path / "in"], tmp_path / "out")
    assert original.read_bytes() == before
    assert not (tmp_path / "out/classes.json").exists()


def test_more_than_256_classes_are_written_in_16_bits(network: tuple, tmp_path: Path) -> None:
    cfg = network[0].copy()
    cfg.model = {**cfg.model, "decode_head": {**cfg.model["decode_head"], "num_classes": 300}}
    model = build_model(cfg)
    with torch.no_grad():
        model.decode_head.conv_seg.bias[290] = 1e6
    meta = {"dataset_meta": {"classes": [f"c{i}" for i in range(300)], "palette": []}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, tmp_path / "wide.pth")
    lines: list[str] = []
    (written,) = predict_images(
        cfg, tmp_path / "wide.pth", [image(tmp_path / "a.png", 20, 20)], tmp_path / "out",
        log=lines.append,
    )  # fmt: skip
    assert (cv2.imread(str(written), cv2.IMREAD_UNCHANGED) == 290).all()
    assert "c290 100.0%" in lines[0]


def test_a_config_without_pipeline_is_refused(network: tuple, tmp_path: Path) -> None:
    cfg = Config({"model": network[0].model, "default_scope": "mmseg"})
    with pytest.raises(ConfigError, match="has no test pipeline"):
        predict_images(cfg, network[1], [image(tmp_path / "a.png", 8, 8)], tmp_path / "out")


def test_a_panoptic_model_without_a_map_is_refused_in_one_line(tmp_path: Path) -> None:
    """Before the weights and the images are looked at, which do not exist here."""
    cfg = load_config(MASK2FORMER_PANOPTIC)
    cfg.model.test_cfg.panoptic_on = False
    with pytest.raises(ConfigError) as error:
        predict_images(cfg, tmp_path / "w.pth", [tmp_path / "a.png"], tmp_path / "o")
    said = str(error.value)
    assert "is about panoptic segmentation" in said and "panoptic_on=True" in said
    assert "\n" not in said


@pytest.mark.parametrize(("count", "said"), [(1, "1 label map in "), (2, "2 label maps in ")])
def test_the_command_counts_label_maps(
    network: tuple, tmp_path: Path, count: int, said: str, capsys
) -> None:
    from mmattn.cli.main import main

    cfg, weights = network
    files = [str(image(tmp_path / f"in/{index}.png", 20, 20)) for index in range(count)]
    words = ["predict", cfg.filename, str(weights), *files, "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{said}{tmp_path / 'out'}"
