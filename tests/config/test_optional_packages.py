"""Optional packages that a config needs are named before anything is built."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config

from mmattn.config import load_config, optional_packages
from mmattn.config.optional_packages import needed_packages, require_packages
from mmattn.errors import ConfigError, MissingPackageError

UPSTREAM = {
    "mmdet::grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py": {
        "model.language_model (BertModel) needs 'transformers'",
        "model.encoder (num_cp=6) needs 'fairscale'",
        "pip install 'transformers==4.53.3' fairscale",
    },
    "mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py": {
        "model (BaseReID) needs 'mmpretrain'",
        "pip install 'mmattn[mmpretrain]'",
    },
    "mmdet::cityscapes/mask-rcnn_r50_fpn_1x_cityscapes.py": {
        "(CityScapesMetric) needs 'cityscapesscripts'",
        "pip install cityscapesscripts",
    },
    "mmdet::instaboost/mask-rcnn_r50_fpn_instaboost-4x_coco.py": {
        "(InstaBoost) needs 'instaboostfast'",
        "pip install instaboostfast",
    },
    "mmdet::paa/paa_r50_fpn_1x_coco.py": {
        "model.bbox_head (PAAHead) needs 'sklearn'",
        "pip install scikit-learn",
    },
    "mmdet::lad/lad_r50-paa-r101_fpn_2xb8_coco_1x.py": {
        "(LADHead) needs 'sklearn'",
        "pip install scikit-learn",
    },
    "mmdet::misc/d2_faster-rcnn_r50-caffe_fpn_ms-90k_coco.py": {
        "model (Detectron2Wrapper) needs 'detectron2'",
        "pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2.git",
    },
    "mmseg::vpd/vpd_sd_4xb8-25k_nyu-512x512.py": {"model.backbone (VPD) needs 'ldm'", "diffusers"},
}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_packages, "_is_installed", lambda module: False)


@pytest.mark.parametrize("config", UPSTREAM)
def test_it_is_named(nothing_installed, config: str) -> None:
    cfg = load_config(config)
    with pytest.raises(MissingPackageError) as raised:
        require_packages(cfg, ("train", "val"))
    assert raised.value.exit_code == 3
    assert str(raised.value).startswith(f"{cfg.filename}: ")
    for words in UPSTREAM[config]:
        assert words in str(raised.value)


def test_it_passes_where_everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_packages, "_is_installed", lambda module: True)
    require_packages(load_config("mmdet::paa/paa_r50_fpn_1x_coco.py"), ("train", "val", "test"))


@pytest.mark.skipif(find_spec("mmpretrain") is not None, reason="mmpretrain is installed")
@pytest.mark.parametrize(
    "config",
    [
        "mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py",
        "mmseg::poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512.py",
        "mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py",
    ],
)
def test_custom_imports_of_a_known_package(config: str) -> None:
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'mmattn[mmpretrain]'")):
        load_config(config)


def test_custom_imports_of_an_unknown_module(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text(
        "custom_imports = dict(imports=['my_bloks.gate'], allow_failed_imports=False)\n"
    )
    with pytest.raises(ConfigError, match=r"config\.py: .*'my_bloks'.*PYTHONPATH"):
        load_config(config)


# --- nothing is refused that runs without ------------------------------------------------------


def modules(model: dict, splits: tuple[str, ...] = ()) -> list[str]:
    return [need.module for need in needed_packages(Config({"model": model}), splits)]


def test_a_head_predicts_without_what_its_loss_needs() -> None:
    assert modules({"type": "PAAHead"}) == []
    assert modules({"type": "mmdet.PAAHead"}, ("train",)) == ["sklearn"]
    assert modules({"type": "PAAHead"}, ("val", "test")) == []


def test_data_of_another_split_do_not_count() -> None:
    cfg = Config(
        {
            "model": {"type": "MaskRCNN"},
            "train_dataloader": {"dataset": {"pipeline": [{"type": "InstaBoost"}]}},
            "val_evaluator": {"type": "LVISMetric"},
        }
    )
    assert needed_packages(cfg) == needed_packages(cfg, ("test",)) == []
    assert [need.module for need in needed_packages(cfg, ("train",))] == ["instaboostfast"]
    assert [need.module for need in needed_packages(cfg, ("val",))] == ["lvis"]


def test_a_part_of_another_scope_of_the_same_name_is_another() -> None:
    assert modules({"type": "mine.VPD"}) == []
    assert modules({"type": "mmpretrain.ConvNeXt", "num_cp": -1}) == ["mmpretrain"]
    assert modules({"type": "MaskRCNN", "num_cp": 0}) == []


def test_a_package_is_named_once() -> None:
    inner = {"type": "mmpretrain.ConvNeXt"}
    assert modules({"type": "mmpretrain.Outer", "a": inner, "b": [inner]}) == ["mmpretrain"]


def test_the_table_names_types_that_exist() -> None:
    """A slip in a name would never match anything."""
    from mmengine.registry import DATASETS, METRICS, MODELS, TASK_UTILS, TRANSFORMS

    import mmattn.projects._register  # noqa: F401

    known: set[str] = set()
    for package in ("mmdet", "mmseg"):
        __import__(f"{package}.utils", fromlist=["x"]).register_all_modules(False)
    for root in (DATASETS, METRICS, MODELS, TASK_UTILS, TRANSFORMS):
        for registry in (root, *root.children.values()):
            known |= set(registry.module_dict)
    table = {**optional_packages._NEEDED_BY_TYPE, **optional_packages._NEEDED_BY_LOSS}
    assert set(table) - known == set()
    needed = {module for modules in table.values() for module in modules}
    assert needed <= set(optional_packages._INSTALL)


# --- every command says it ---------------------------------------------------------------------


def test_preflight_and_the_build_say_it(nothing_installed) -> None:
    from mmattn.inference import build_model
    from mmattn.preflight import preflight

    paa = load_config("mmdet::paa/paa_r50_fpn_1x_coco.py")
    with pytest.raises(MissingPackageError, match="scikit-learn"):
        preflight(paa)
    reid = load_config("mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py")
    with pytest.raises(MissingPackageError, match="mmpretrain"):
        build_model(reid)


@pytest.mark.parametrize("verb", ["train", "test", "predict"])
def test_a_command_ends_with_exit_code_3(nothing_installed, capsys, tmp_path, verb: str) -> None:
    from importlib import import_module

    config = "mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py"
    if verb == "predict":  # it takes semantic segmentation alone
        config = "mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py"
    weights, image = tmp_path / "weights.pth", tmp_path / "image.png"
    weights.touch()
    image.touch()
    rest = {
        "train": [],
        "test": [str(weights)],
        "predict": [str(weights), str(image), "--out", str(tmp_path / "out")],
    }[verb]
    main = import_module(f"mmattn.cli.{verb}").main
    arguments = [config, *rest]
    if verb == "train":
        arguments += ["--work-dir", str(tmp_path / "work")]
    assert main(arguments) == 3
    assert "MissingPackageError" in capsys.readouterr().err
