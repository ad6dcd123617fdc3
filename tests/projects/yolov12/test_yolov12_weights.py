"""Promise: published files become our weights without their packages, and nothing of them runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmattn.cli.convert import main
from mmattn.config import load_config
from mmattn.errors import CheckpointError
from mmattn.inference import build_model
from mmattn.io import load_state_dict, read_checkpoint
from mmattn.io.convert import convert_checkpoint
from mmattn.io.inert_modules import ModuleWeights
from mmattn.layers.folding import affine_of, fold_after

OFFICIAL = "yolov12-official"
NAMES = {0: "cat", 1: "dog", 2: "tram"}
# Keys that the published files are known to have, one of each kind, and ours for them.
KNOWN = {
    "0.conv.weight": "backbone.stem.conv.weight",
    "1.bn.running_var": "backbone.stage2.0.bn.running_var",
    "2.cv1.conv.weight": "backbone.stage2.1.split.conv.weight",
    "2.m.0.cv2.conv.weight": "backbone.stage2.1.units.0.conv2.conv.weight",
    "4.cv2.bn.bias": "backbone.stage3.1.merge.bn.bias",
    "6.m.0.1.attn.qk.conv.weight": "backbone.stage4.1.units.0.1.attention.qk.conv.weight",
    "6.m.1.0.attn.pe.bn.weight": "backbone.stage4.1.units.1.0.attention.pe.bn.weight",
    "8.m.1.1.mlp.1.conv.weight": "backbone.stage5.1.units.1.1.mlp.1.conv.weight",
    "8.cv1.conv.weight": "backbone.stage5.1.reduce.conv.weight",
    "11.m.0.cv3.conv.weight": "neck.top_down4.units.0.merge.conv.weight",
    "14.m.0.m.1.cv1.bn.weight": "neck.top_down3.units.0.bottlenecks.1.conv1.bn.weight",
    "15.conv.weight": "neck.down3.conv.weight",
    "17.m.0.cv2.conv.weight": "neck.bottom_up4.units.0.bypass.conv.weight",
    "18.bn.weight": "neck.down4.bn.weight",
    "20.m.0.cv1.conv.weight": "neck.bottom_up5.units.0.reduce.conv.weight",
    "21.cv2.0.1.conv.weight": "bbox_head.box_branches.0.1.conv.weight",
    "21.cv2.2.2.bias": "bbox_head.box_branches.2.2.bias",
    "21.cv3.1.0.1.bn.weight": "bbox_head.class_branches.1.0.1.bn.weight",
    "21.cv3.1.2.weight": "bbox_head.class_branches.1.2.weight",
}

_CLASSES = {"tasks": "DetectionModel", "modules.block": "A2C2f", "modules.head": "Detect"}


@pytest.fixture
def their_classes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], type]]:
    """Classes under the names that published files ask for; they exist while a file is written.

    Each says so if it is called, which only unpickling would do.
    """
    package = "ultralytics"
    found = {}
    for name in ("", ".nn", *(f".nn.{path}" for path in ("modules", *_CLASSES))):
        module = ModuleType(package + name)
        monkeypatch.setitem(sys.modules, package + name, module)
    for path, name in _CLASSES.items():
        full = f"{package}.nn.{path}"
        body = {"__module__": full, "__qualname__": name}
        found[name] = type(name, (nn.Module,), body)
        setattr(sys.modules[full], name, found[name])
    settings = type("Settings", (), {"__module__": f"{package}.nn.tasks"})
    sys.modules[f"{package}.nn.tasks"].Settings = settings  # type: ignore[attr-defined]
    found["Settings"] = settings
    yield found.__getitem__


def their_network(state: dict[str, Tensor], class_of: Callable[[str], type]) -> nn.Module:
    """A network of their classes with these weights, ``model.<layer>...``."""

    def module_of(entries: dict[str, Tensor], kind: type) -> nn.Module:
        module = kind()
        inner: dict[str, dict[str, Tensor]] = {}
        for key, value in entries.items():
            first, _, rest = key.partition(".")
            if rest:
                inner.setdefault(first, {})[rest] = value
            elif first.startswith(("running", "num_batches")):
                module.register_buffer(first, value)
            else:
                module.register_parameter(first, nn.Parameter(value, requires_grad=False))
        for name, part in inner.items():
            kind = class_of("A2C2f") if name == "6" else nn.Sequential
            module.add_module(name, module_of(part, kind))
        return module

    network = module_of(state, class_of("DetectionModel"))
    network.names = dict(NAMES)
    network.stride = torch.tensor([8.0, 16.0, 32.0])
    network.yaml = {"nc": 3, "scale": "n"}
    network.args = class_of("Settings")()
    # Plain attributes of torch's own, and a buffer that no state dict has.
    network.get_submodule("model.0").register_buffer("scratch", torch.ones(3), persistent=False)
    return network


@pytest.fixture(scope="module")
def state(build, golden_state) -> dict[str, Tensor]:
    """Golden weights of YOLOv12-N with three classes under the authors' names."""
    return golden_state(build("n", bbox_head__num_classes=3))


@pytest.fixture
def published(tmp_path: Path, state, their_classes) -> Path:
    """A file as the authors publish it: a network in half precision and what belongs to it."""
    file = tmp_path / "yolov12n.pt"
    network = their_network(state, their_classes).half()
    torch.save(
        {
            "model": network,
            "ema": None,
            "train_args": {"epochs": 600, "imgsz": 640},
            "date": "2025-06-01",
            "optimizer": None,
            "epoch": -1,
        },
        file,
    )
    for name in [name for name in sys.modules if name.startswith("ultralytics")]:
        sys.modules.pop(name)
    return file


def ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return convert_checkpoint(state).state_dict


def test_published_file_loads_strictly_with_its_class_names(
    published: Path, state, config_path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "yolov12n.safetensors"
    assert main([str(published), str(out)]) == 0
    told = capsys.readouterr().out
    assert OFFICIAL in told
    assert "AGPL-3.0" in told
    assert "configs/yolov12/yolov12-n_8xb32-600e_coco.py" in told
    assert "model.bbox_head.num_classes=3" in told
    content = read_checkpoint(out)
    assert content["meta"]["dataset_meta"] == {"classes": list(NAMES.values())}
    assert content["meta"]["provenance"]["converter"] == OFFICIAL
    expected = ours(state)
    assert content["state_dict"].keys() == expected.keys()
    for key, value in content["state_dict"].items():
        assert value.dtype == (torch.float32 if expected[key].is_floating_point() else torch.int64)
        torch.testing.assert_close(value, expected[key].half().to(value.dtype), rtol=0, atol=0)
    assert json.loads(out.with_suffix(".json").read_text())["keys"] == len(expected)
    cfg = load_config(config_path("n", "turbo"))
    cfg.model.bbox_head.num_classes = 3
    model = build_model(cfg, out)
    assert model.dataset_meta["classes"] == list(NAMES.values())


def test_nothing_else_reads_a_whole_network_and_the_way_is_told(published: Path) -> None:
    """What trains and tests refuses it as before, and names the command that has its weights."""
    with pytest.raises(CheckpointError, match=r"DetectionModel.*without running anything: mmattn"):
        read_checkpoint(published)


def test_reading_keeps_weights_and_data_and_says_what_it_leaves_out(
    published: Path, state, caplog
) -> None:
    content = read_checkpoint(published, modules=True)
    weights = content["model"]
    assert isinstance(weights, ModuleWeights)
    assert weights.class_name == "ultralytics.nn.tasks.DetectionModel"
    assert list(weights) == list(state), "in the order of state_dict(), without other buffers"
    assert weights.attributes["names"] == NAMES
    assert weights.attributes["yaml"] == {"nc": 3, "scale": "n"}
    assert "args" not in weights.attributes
    assert "model.args (ultralytics.nn.tasks.Settings)" in caplog.text
    assert content["train_args"] == {"epochs": 600, "imgsz": 640}


def test_running_mean_is_what_is_converted(tmp_path: Path, state, their_classes) -> None:
    """Of a file with both, which a training writes."""
    other = {k: v + 1 if v.is_floating_point() and "dfl" not in k else v for k, v in state.items()}
    networks = {
        "model": their_network(other, their_classes),
        "ema": their_network(state, their_classes),
    }
    torch.save(networks, tmp_path / "last.pt")
    converted = convert_checkpoint(read_checkpoint(tmp_path / "last.pt", modules=True))
    expected = ours(state)
    assert converted.state_dict.keys() == expected.keys()
    for key, value in converted.state_dict.items():
        assert torch.equal(value, expected[key]), key
    assert converted.meta == {"dataset_meta": {"classes": list(NAMES.values())}}


@pytest.mark.parametrize("scale", ["n", "l"])
@pytest.mark.parametrize("version", ["turbo", "v1.0"])
def test_every_key_has_a_place_and_a_way_back(build_meta, config_path, scale, version) -> None:
    model = build_meta(scale, version)
    there = convert_checkpoint(model.state_dict(), OFFICIAL, reverse=True).state_dict
    # Values are needed for the bins alone.
    there["model.21.dfl.conv.weight"] = torch.arange(16.0).view(1, 16, 1, 1)
    back = convert_checkpoint(there)
    assert back.converter == OFFICIAL
    assert not back.left_out
    assert back.state_dict.keys() == model.state_dict().keys()
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in back.state_dict.items()} == shapes
    assert f"{Path(config_path(scale, version)).stem}.py." in back.note


def test_known_keys_go_where_they_belong(state) -> None:
    converted = ours(state)
    for theirs, own in KNOWN.items():
        assert torch.equal(converted[own], state[f"model.{theirs}"]), theirs


def test_gamma_and_units_of_the_large_scales(build_meta) -> None:
    model = build_meta("l", "v1.0")
    there = convert_checkpoint(model.state_dict(), OFFICIAL, reverse=True).state_dict
    for key in (
        "model.6.gamma",
        "model.8.m.3.1.attn.qkv.conv.weight",
        "model.2.m.1.cv3.conv.weight",
        "model.2.m.1.m.0.cv2.bn.bias",
        "model.17.m.1.cv1.conv.weight",
    ):
        assert key in there


@pytest.mark.parametrize("prefix", ["", "module.model.", "model.model."])
def test_bare_state_dicts_under_other_prefixes(state, prefix: str) -> None:
    bare = {prefix + key.removeprefix("model."): value for key, value in state.items()}
    for content in (bare, {"state_dict": bare}):
        converted = convert_checkpoint(content)
        assert converted.state_dict.keys() == ours(state).keys()
        assert converted.meta == {}


def test_folded_norms_get_norms_that_add_the_bias(build, state) -> None:
    """Files that were exported for inference have a bias and no norm."""
    folded = dict(state)
    for key in state:
        if not key.endswith(".bn.weight"):
            continue
        module = key.removesuffix(".bn.weight")
        weight = state[f"{module}.conv.weight"]
        conv, norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(len(weight), eps=1e-3)
        conv.weight = nn.Parameter(weight)
        norm.load_state_dict({e: state[f"{module}.bn.{e}"] for e in norm.state_dict()}, strict=True)
        result = fold_after(conv, affine_of(norm))
        folded[f"{module}.conv.weight"] = result.weight.detach()
        folded[f"{module}.conv.bias"] = result.bias.detach()
        for entry in norm.state_dict():
            del folded[f"{module}.bn.{entry}"]
    assert len(folded) < len(state) / 2
    x = torch.rand(1, 3, 64, 64)
    outputs = []
    for weights in (state, folded):
        model = build("n", bbox_head__num_classes=3).eval()
        assert load_state_dict(model, ours(weights), strict=True).complete
        with torch.no_grad():
            outputs.append([*chain(*model(x, mode="tensor"))])
    for got, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_network_is_read_from_the_shapes(build_meta) -> None:
    """Also one whose feed-forward width or shortcut is not its scale's."""
    cases = {
        ("m", "turbo"): ({}, "yolov12-m_8xb32-600e_coco.py."),
        ("x", "v1.0"): ({}, "yolov12-v1-x_8xb32-600e_coco.py."),
        ("l", "turbo"): (
            {"backbone__mlp_ratio": 1.0},
            "yolov12-l_8xb32-600e_coco.py with model.backbone.mlp_ratio=1.",
        ),
        ("s", "turbo"): (
            {"backbone__residual_scale": 0.01, "bbox_head__num_classes": 2},
            "yolov12-s_8xb32-600e_coco.py with model.backbone.residual_scale=0.01 "
            "model.bbox_head.num_classes=2.",
        ),
    }
    for (scale, version), (options, expected) in cases.items():
        model = build_meta(scale, version, **options)
        there = convert_checkpoint(model.state_dict(), OFFICIAL, reverse=True).state_dict
        there["model.21.dfl.conv.weight"] = torch.arange(16.0).view(1, 16, 1, 1)
        assert expected in convert_checkpoint(there).note


def test_networks_without_a_head_here_are_refused(state) -> None:
    segments = {**state, "model.21.proto.cv1.conv.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match="this YOLOv12 segments instances"):
        convert_checkpoint(segments)
    classifies = {key: x for key, x in state.items() if int(key.split(".")[1]) < 9}
    classifies["model.9.linear.weight"] = torch.ones(1)
    with pytest.raises(CheckpointError, match="this YOLOv12 classifies images"):
        convert_checkpoint(classifies)


def test_other_networks_are_not_recognised(state) -> None:
    other = {key: value for key, value in state.items() if ".attn." not in key}
    assert convert_checkpoint(other) is None


def test_bins_of_another_meaning_are_an_error(state) -> None:
    wrong = {**state, "model.21.dfl.conv.weight": torch.arange(1.0, 17).view(1, 16, 1, 1)}
    with pytest.raises(CheckpointError, match=r"dfl\.conv\.weight is not 0, 1, \.\.\. 15"):
        convert_checkpoint(wrong)


def test_unknown_key_is_an_error_not_a_loss(state) -> None:
    for key in ("model.22.cv1.conv.weight", "model.6.m.0.0.attn.kv.conv.weight", "other.weight"):
        with pytest.raises(CheckpointError, match=r"1 keys are not of this layout"):
            convert_checkpoint({**state, key: torch.zeros(1)})


@pytest.mark.parametrize("names", [None, {1: "a"}, ["a", 3], "ab", {0: {"x": 1}}])
def test_class_names_that_are_none_are_left_out(state, names: Any) -> None:
    weights = ModuleWeights("x", {"names": names})
    weights.update(state)
    assert convert_checkpoint({"model": weights}).meta == {}


# Files that would do something if they were unpickled


class Call:
    """Pickles as the instruction to call ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return (self.function, self.arguments)


def _armed(place: str, state: dict, class_of: Callable, call: Call) -> dict[str, Any]:
    network = their_network(state, class_of)
    layer = network.get_submodule("model.6")
    content: dict[str, Any] = {"model": network, "ema": None}
    if place == "attribute":
        network.args = call
    elif place == "class names":
        network.names = call
    elif place == "attribute of a layer":
        layer.area = call
    elif place == "hook":
        layer._forward_hooks[0] = call
    elif place == "parameter":
        layer._parameters["gamma"] = call
    elif place == "buffer":
        layer._buffers["extra"] = call
    elif place == "module":
        layer._modules["m"] = call
    else:
        content["train_args"] = call
    return content


@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ("attribute", False),
        ("class names", False),
        ("attribute of a layer", False),
        ("hook", False),
        ("training arguments", False),
        ("parameter", True),
        ("buffer", True),
        ("module", True),
    ],
)
def test_nothing_of_a_file_runs(
    tmp_path: Path, state, their_classes, place: str, refused: bool
) -> None:
    canary = tmp_path / "canary"
    call = Call(eval, f"open({str(canary)!r}, 'w').close()")
    file = tmp_path / "armed.pt"
    torch.save(_armed(place, state, their_classes, call), file)
    out = tmp_path / "out.safetensors"
    code = main([str(file), str(out)])
    assert (code != 0) == refused == (not out.exists())
    assert not canary.exists()
    with pytest.raises((Exception, SystemExit)):
        torch.load(file, weights_only=False)
        raise SystemExit
    assert canary.exists(), "this payload does nothing, so that it did not run proves nothing"
