"""Where the tools send predictions, for configs with and without a visualisation hook."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmattn.engine.test import _name_outputs
from mmattn.engine.test_outputs import dump_metric, show_predictions, write_label_maps
from mmattn.engine.tta import use_tta
from mmattn.errors import ConfigError


@pytest.mark.parametrize("default_hooks", [None, {"visualization": {"type": "X", "interval": 7}}])
def test_windows_and_images_are_switched_on(default_hooks: dict | None) -> None:
    cfg = Config({"default_scope": "mmdet", "default_hooks": default_hooks})
    show_predictions(cfg, show=True, show_dir="painted", wait_time=0.5)
    hook = cfg.default_hooks.visualization
    assert (hook.draw, hook.show, hook.wait_time) == (True, True, 0.5)
    if default_hooks:
        # mmdet joins it to the folder of the run: a relative one would lie somewhere else.
        assert hook.type == "X" and hook.test_out_dir == os.path.abspath("painted")
    else:
        saves = {"type": "mmattn.DrawnPredictionsHook", "folder": "painted"}
        assert hook.type == "DetVisualizationHook" and cfg.custom_hooks == [saves]
        assert "test_out_dir" not in hook, "upstream would draw a second time"


def test_images_of_detection_keep_the_settings_of_the_hook() -> None:
    hook = {"type": "mmdet.DetVisualizationHook", "score_thr": 0.6}
    cfg = Config({"default_scope": "mmdet", "default_hooks": {"visualization": hook}})
    show_predictions(cfg, show=False, show_dir="drawn")
    assert cfg.custom_hooks[0]["score_thr"] == 0.6
    assert "draw" not in cfg.default_hooks.visualization


def test_images_of_segmentation_are_painted_as_predict_paints_them() -> None:
    cfg = Config({"default_scope": "mmseg"})
    show_predictions(cfg, show=False, show_dir="painted", opacity=0.3)
    assert cfg.custom_hooks == [
        {"type": "mmattn.PaintedPredictionsHook", "folder": "painted", "opacity": 0.3}
    ]
    assert "draw" not in cfg.default_hooks.visualization, "upstream would paint a second time"


def test_the_legend_can_be_left_out() -> None:
    cfg = Config({"default_scope": "mmseg"})
    show_predictions(cfg, show=False, show_dir="painted", legend=False)
    assert cfg.custom_hooks[0]["legend"] is False


def test_a_visualisation_hook_of_ones_own_is_asked() -> None:
    hooks = {"visualization": {"type": "Own"}}
    cfg = Config({"default_scope": "mmseg", "default_hooks": hooks})
    show_predictions(cfg, show=False, show_dir="painted")
    assert cfg.default_hooks.visualization.draw and cfg.visualizer.save_dir == os.path.abspath(
        "painted"
    )


def test_opacity_reaches_the_visualizer_of_windows_and_detection() -> None:
    for scope in ("mmdet", "mmseg"):
        cfg = Config({"default_scope": scope})
        show_predictions(cfg, show=True, show_dir=None, opacity=0.25)
        assert cfg.visualizer.alpha == 0.25


def test_label_maps_are_written_by_the_metric_and_files_by_one_more() -> None:
    cfg = Config({"default_scope": "mmseg", "test_evaluator": [{"type": "IoUMetric"}]})
    assert dump_metric(cfg, "folder") is None
    write_label_maps(cfg, "folder")
    assert cfg.test_evaluator[0].output_dir == "folder"
    assert dump_metric(cfg, "all.pkl")["type"] == "mmengine.DumpResults"


def test_a_pipeline_that_packs_nothing_cannot_be_augmented() -> None:
    loader = {"dataset": {"pipeline": [{"type": "LoadImageFromFile"}]}}
    cfg = Config({"default_scope": "mmdet", "model": {}, "test_dataloader": loader})
    with pytest.raises(ConfigError, match="tta_pipeline"):
        use_tta(cfg)


@pytest.mark.parametrize("own", [None, [{"type": "Own"}]])
def test_every_data_set_of_a_concatenation_is_augmented(own: list | None) -> None:
    def part() -> dict:
        return {"pipeline": [{"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}]}

    dataset = {"type": "ConcatDataset", "datasets": [part(), part()]}
    loader = {"dataset": dataset}
    cfg = Config({"default_scope": "mmseg", "model": {}, "test_dataloader": loader})
    cfg.tta_pipeline = own
    use_tta(cfg)
    last = [one.pipeline[-1].type for one in cfg.test_dataloader.dataset.datasets]
    assert last == ["Own" if own else "TestTimeAug"] * 2


def test_metrics_that_write_maps_are_told_the_names() -> None:
    """Images of two folders that share a name get one map each."""

    class Images(list):
        def get_data_info(self, index: int) -> dict:
            return {"img_path": self[index]}

    class Named:
        names: dict = {}

        def name_outputs(self, names: dict) -> None:
            self.names = names

    writes, other = Named(), SimpleNamespace()
    runner = SimpleNamespace(
        test_loop=SimpleNamespace(
            evaluator=SimpleNamespace(metrics=[writes, other]),
            dataloader=SimpleNamespace(dataset=Images(["d/a/x.png", "d/b/x.png"])),
        )
    )
    _name_outputs(runner)
    assert writes.names == {"d/a/x.png": Path("a/x"), "d/b/x.png": Path("b/x")}
