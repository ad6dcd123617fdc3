"""The validation loss is the loss of the validation images, and the training never notices."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook

from mmattn.engine.hooks.val_loss import as_in_training, with_early_annotations, with_targets
from mmattn.errors import ConfigError

DROPOUT = {"model.decode_head.dropout_ratio": 0.5}
VAL_LOSS = {"type": "mmattn.ValLossHook"}


class Metrics(Hook):
    """Keeps what every validation reports, and the weights that it was done with."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.found: list[dict] = []

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.found.append(dict(metrics))


def trained(built) -> list[dict]:
    heard = Metrics()
    built.register_hook(heard)
    built.train()
    return heard.found


def test_it_is_the_mean_loss_of_the_images(runner) -> None:
    built = runner([VAL_LOSS], **DROPOUT)
    *_, last = trained(built)
    model = built.model.eval()
    losses = []
    for sample in built.val_dataloader.dataset:
        # 64 x 64 pixels each, so that nothing has to be resized here.
        data = model.data_preprocessor({"inputs": [sample["inputs"]], "data_samples": []})
        with torch.no_grad():
            logits = model.decode_head.forward(model.extract_feat(data["inputs"]))
        label = sample["data_samples"].gt_sem_seg.data.long()
        label = torch.nn.functional.interpolate(label[None].float(), (64, 64), mode="nearest")
        logits = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear")
        losses.append(torch.nn.functional.cross_entropy(logits, label[0].long(), reduction="none"))
    expected = torch.stack(losses).mean().item()
    assert last["val_loss"] == pytest.approx(expected, rel=0.02), "masks are resized by OpenCV"
    assert last["val_decode.loss_ce"] == last["val_loss"]


@pytest.mark.slow
def test_the_training_takes_the_same_course(runner, tmp_path) -> None:
    """Dropout draws the same masks, buffers and modes are left as they were."""
    norm = {"type": "BN", "_delete_": True}
    bn = {"model.backbone.norm_cfg": norm, "model.decode_head.norm_cfg": norm}
    states = []
    for name, hooks in (("with", [VAL_LOSS]), ("without", [])):
        built = runner(hooks, tmp_path / name, **DROPOUT, **bn)
        found = trained(built)
        states.append(built.model.state_dict())
        assert ("val_loss" in found[0]) == (name == "with")
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.slow
def test_it_goes_where_metrics_go(runner, tmp_path) -> None:
    first, last = trained(runner([VAL_LOSS], save_best="val_loss"))
    assert last["val_loss"] < first["val_loss"] - 1e-3
    (best,) = (tmp_path / "run").glob("best_val_loss_iter_*.pth")
    assert best.name == "best_val_loss_iter_4.pth"
    scalars = next((tmp_path / "run").glob("*/vis_data/scalars.json")).read_text()
    assert scalars.count('"val_loss"') == 2


@pytest.mark.slow
def test_averaged_weights_are_judged_where_they_are_validated(runner) -> None:
    """With EMA of no momentum at all the average stays the first weights; so does their loss."""
    ema = {"type": "EMAHook", "momentum": 1e-12}
    first, last = trained(runner([VAL_LOSS, ema]))
    assert first["val_loss"] == pytest.approx(last["val_loss"], abs=1e-5)


def test_annotations_move_in_front_of_the_resizing() -> None:
    def step(name: str) -> dict:
        return {"type": name}

    names = ["LoadImageFromFile", "Resize", "LoadAnnotations", "mmattn.LoadFolderMask", "Pack"]
    found = with_early_annotations([step(name) for name in names], "here")
    assert [one["type"] for one in found] == [names[i] for i in (0, 2, 3, 1, 4)]
    with pytest.raises(ConfigError, match=r"here\.pipeline loads no annotations"):
        with_early_annotations([step("LoadImageFromFile"), step("Resize")], "here")
    with pytest.raises(ConfigError, match="loads no image"):
        with_early_annotations([step("LoadAnnotations")], "here")


def bevanet(*, edges: int) -> dict:
    """BEVANet, with a training pipeline that makes edge maps as its step number ``edges``."""
    steps = [{"type": name} for name in ("LoadImageFromFile", "LoadAnnotations")]
    steps += [{"type": "Resize", "scale": (64, 64)}, {"type": "PackSegInputs"}]
    steps.insert(edges, {"type": "mmattn.GenerateEdgeMap", "border": 0})
    head = {"type": "mmattn.BEVAHead", "in_channels": 32, "channels": 8, "num_classes": 10}
    return {
        "model.backbone": {"type": "mmattn.BEVANet", "channels": 8, "_delete_": True},
        "model.decode_head": {**head, "_delete_": True},
        "train_dataloader.dataset.pipeline": steps,
        "train_cfg.max_iters": 1,
    }


@pytest.mark.slow
def test_edge_maps_are_made_as_for_the_training(runner) -> None:
    (metrics,) = trained(runner([VAL_LOSS], **bevanet(edges=2)))
    parts = [value for name, value in metrics.items() if name.startswith("val_decode.loss")]
    assert metrics["val_loss"] == pytest.approx(sum(parts), rel=1e-4)
    assert len(parts) == 4


def test_the_steps_that_make_edge_maps_keep_their_place() -> None:
    def steps(*names: str) -> list[dict]:
        return [{"type": name} for name in names]

    own = steps("LoadImageFromFile", "LoadAnnotations", "Resize", "PackSegInputs")
    early = steps("LoadImageFromFile", "LoadAnnotations", "mmattn.GenerateEdgeMap", "RandomCrop")
    late = steps("LoadImageFromFile", "LoadAnnotations", "RandomCrop", "mmseg.GenerateEdge", "Pack")
    assert with_targets(own, early) == [*own[:2], early[2], *own[2:]]
    assert with_targets(own, late) == [*own[:3], late[3], own[3]]
    assert with_targets(early, late) == early
    assert with_targets(own, own) == own


@pytest.mark.slow
def test_a_loss_that_lacks_something_stops_the_run_before_it_begins(runner) -> None:
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "PackSegInputs"},
    ]
    built = runner([{**VAL_LOSS, "pipeline": pipeline}], **bevanet(edges=2))
    with pytest.raises(ConfigError, match=r"needs gt_edge_map.*give pipeline="):
        built.train()
    assert built.iter == 0


def test_modes_and_buffers_come_back_after_an_error(runner) -> None:
    model = runner([]).model.eval()
    model.backbone.train()
    model.register_buffer("memory", torch.zeros(3))
    modes = [module.training for module in model.modules()]

    def fail() -> None:
        with as_in_training(model):
            assert model.decode_head.training
            model.memory += 1
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert [module.training for module in model.modules()] == modes
    assert not model.memory.any()


class Chance(torch.nn.Module):
    """Dropout of three kinds."""

    data_preprocessor = None

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 2, dropout=0.5)
        self.layer = torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0] + self.layer(x)

    def dropped(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_layers_do_not_drop_and_functions_drop_the_same(device: str) -> None:
    model, x = Chance().to(device), torch.randn(5, 3, 8, device=device)
    expected = model.eval()(x)
    model.train()
    functions = []
    drawn = []
    for _ in range(2):
        with as_in_training(model):
            torch.testing.assert_close(model(x), expected)
            functions.append(model.dropped(x))
        drawn.append(torch.rand(1, device=device))
    assert torch.equal(*functions) and not torch.equal(functions[0], x)
    assert not torch.equal(*drawn), "the run's own random numbers go on"
