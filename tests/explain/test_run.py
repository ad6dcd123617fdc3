"""The whole path on small networks: files, numbers, pairs and mistakes."""
# ruff: noqa: C408  (dict(...) is how configs are written)

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
from mmattn.explain import FaithfulnessOptions, Network, Options, explain_images
from mmattn.explain.attention.record import recorded_attention
from mmattn.explain.methods import explain
from mmattn.explain.sanity import check_randomisation
from mmattn.explain.targets import choose_target, parse_target
from mmattn.projects.blocks.cbam import CBAM
from tests.support.scenes import draw_scene
from tests.support.small_detectors import as_if_trained, detector_config

CONFIGS = Path(__file__).parents[1] / "support" / "configs"


def ccnet(**head: object) -> Config:
    """A narrow CCNet for images of 64 x 64."""
    cfg = load_config(str(CONFIGS / "tiny_fcn.py"))
    cfg.model.decode_head = dict(
        type="mmattn.CCHead", in_channels=64, in_index=3, channels=16, num_classes=10,
        norm_cfg=dict(type="BN"), align_corners=False, dropout_ratio=0.0, recurrence=2, **head,
    )  # fmt: skip
    return cfg


def awake(network: Network) -> Network:
    """Give random values to what starts at 0: the factor of criss-cross attention."""
    with torch.no_grad():
        for name, parameter in network.model.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.5)
    return network


@pytest.fixture(scope="module")
def segmentor() -> Network:
    torch.manual_seed(0)
    return awake(Network(ccnet(), None, "cpu"))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    files = [str(folder / f"{seed}.png") for seed in range(2)]
    for seed, file in enumerate(files):
        cv2.imwrite(file, draw_scene((64, 64), seed).image)
    return files


def test_figures_arrays_and_numbers(segmentor: Network, images: list[str], tmp_path: Path) -> None:
    lines: list[str] = []
    options = Options(
        methods=["attention", "rollout", "relevance", "layer-cam", "norm-grad"],
        target=["pixel=20,30"],
        faithfulness=FaithfulnessOptions(steps=2, random_maps=2),
    )
    results = explain_images([segmentor], images[:1], tmp_path / "out", options, lines.append)
    (result,) = results
    figure = cv2.imread(str(tmp_path / "out" / "0_explained.png"))
    assert figure is not None and figure.shape[0] > 300
    with np.load(tmp_path / "out" / "0_explained.npz") as arrays:
        composite = arrays["attention_decode_head.cca_all_2_passes"]
        assert composite.sum() == pytest.approx(1) and (composite > 0).all()
        once = arrays["attention_decode_head.cca_pass_1"]
        assert (once > 0).sum() == sum(once.shape) - 1
        assert len(arrays) == 7
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (image,) = summary["images"]
    assert image["target"]["y"].endswith("over 1 pixel")
    assert [one["method"] for one in image["maps"]][3:] == options.methods[1:]
    assert {row["map"] for row in summary["faithfulness"]["tiny_fcn"]} >= {"centre", "edges"}
    for one in result.explanations:
        assert 0 <= one.numbers["deletion"] <= 1 and "insertion_random" in one.numbers
    said = "\n".join(lines)
    assert "fewer than 5 images: no interval" in said and "2 random maps of the same grid" in said


def test_the_default_shows_attention_too_and_calls_maps_raw(
    segmentor: Network, images: list[str], tmp_path: Path
) -> None:
    lines: list[str] = []
    explain_images([segmentor], images, tmp_path, Options(), lines.append, "mmattn explain <x>")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png') == 2 and "http" not in page
    assert "mmattn explain &lt;x&gt;" in page and "not checked; --faithfulness" in page
    table = next(line for line in lines if line.lstrip().startswith("image "))
    rows = [line for line in table.splitlines() if line.rstrip().endswith("raw")]
    assert len(rows) == 8 and sum("decode_head.cca" in row for row in rows) == 6
    assert sum("the largest class here" in line for line in lines) == 2
    assert any("not checked; --faithfulness" in line for line in lines)
    assert sorted(file.name for file in tmp_path.glob("*.png")) == [
        "0_explained.png",
        "1_explained.png",
    ]


def test_the_host_and_the_host_with_a_block(
    segmentor: Network, images: list[str], tmp_path: Path
) -> None:
    cfg = ccnet()
    cfg.model.backbone.plugins = [
        dict(cfg=dict(type="mmattn.SE"), stages=(False, False, True, True), position="after_conv2")
    ]
    torch.manual_seed(0)
    other = awake(Network(cfg, None, "cpu"))
    results = explain_images(
        [segmentor, other], images[:1], tmp_path, Options(methods=["hires-cam"]), lambda _: None
    )
    assert [result.network for result in results] == ["tiny_fcn", "tiny_fcn (second)"]
    first, second = (result.target for result in results)
    assert first.label == second.label and bool((first.region == second.region).all())


def test_gates_and_what_they_do(images: list[str]) -> None:
    cfg = ccnet()
    cfg.model.backbone.plugins = [
        dict(cfg=dict(type="mmattn.CBAM", norm_weight=1.0, reduction=4), position="after_conv2")
    ]
    torch.manual_seed(0)
    network = Network(cfg, None, "cpu")
    for name, parameter in network.model.named_parameters():
        if name.endswith("gn2.weight"):  # 0 at first: what the gates see would be
            torch.nn.init.ones_(parameter)
    sample = network.prepare(Path(images[0]))
    target = choose_target(parse_target([], network.classes), network,
                           network.outputs_of(sample), sample)  # fmt: skip
    channel, spatial, product = explain(network, sample, target, "gates", "*layer2.0.cbam")
    assert channel.channels is not None and channel.channels.shape == (16,)
    assert spatial.values is not None and product.values is not None
    y = float(target(network.outputs_of(sample)))
    for one in (channel, spatial):
        assert one.numbers["y"] == pytest.approx(y, abs=1e-5)
        assert one.numbers["y_with_mean_gate"] != pytest.approx(y, abs=1e-7)
    with pytest.raises(ConfigError, match="take --method attention"):
        explain(network, sample, target, "gates", "decode_head.cca")
    with pytest.raises(ConfigError, match="take --method gates"):
        explain(network, sample, target, "attention", "*layer2.0.cbam")


def test_queries_of_mask2former(images: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(load_config(str(CONFIGS / "tiny_mask2former.py")), None, "cpu")
    sample = network.prepare(Path(images[0]))
    outputs = network.outputs_of(sample)
    target = choose_target(parse_target(["query=2"], network.classes), network, outputs, sample)
    (attention,) = explain(network, sample, target, "attention")
    assert attention.layer.endswith("layers.2.cross_attn")
    assert attention.values is not None and attention.values.sum() == pytest.approx(1, abs=1e-5)
    assert (attention.values == 0).any(), "masked keys have no weight"
    (relevance,) = explain(network, sample, target, "relevance")
    assert "1 + 6 layers" in relevance.layer and "levels" in relevance.notes[0]
    (points,) = explain(network, sample, target, "attention", "decode_head.pixel_decoder")
    assert points.points is not None and len(points.points.weights) == 2 * 3 * 4
    assert points.points.weights.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["RetinaNet", "FCOS"])
def test_detections(name: str, images: list[str]) -> None:
    """Heads that cut the history of their scores, for a sigmoid alone and times centerness."""
    cfg = Config(detector_config(name, Path("none.json"), Path(".")))
    torch.manual_seed(0)
    network = Network(cfg, None, "cpu")
    as_if_trained(network.model)
    sample = network.prepare(Path(images[0]))
    target = choose_target(parse_target([], network.classes), network,
                           network.outputs_of(sample), sample)  # fmt: skip
    (found,) = explain(network, sample, target, "hires-cam")
    assert found.layer.startswith("neck[") and found.values is not None
    assert np.abs(found.values).max() > 0


def test_maps_of_several_images_are_summed_up_whatever_their_targets(
    images: list[str], tmp_path: Path
) -> None:
    """Each image has another detection, with a score of its own and perhaps on another level."""
    cfg = Config(detector_config("RetinaNet", Path("none.json"), Path(".")))
    torch.manual_seed(0)
    network = Network(cfg, None, "cpu")
    as_if_trained(network.model)
    check = FaithfulnessOptions(steps=1, random_maps=1)
    options = Options(methods=["hires-cam"], faithfulness=check)
    first, second = explain_images([network], images, tmp_path, options, lambda _: None)
    assert first.target.name != second.target.name
    summary = json.loads((tmp_path / "summary.json").read_text())
    (rows,) = summary["faithfulness"].values()
    assert {row["map"]: row["images"] for row in rows} == {
        "hires-cam_neck_the_target": 2,
        "centre": 2,
        "edges": 2,
    }
    assert summary["images"][0]["maps"][0]["across"] in summary["images"][0]["check"]["maps"]
    assert 0 <= rows[0]["average_drop"] <= 100 and "average_drop_random" in rows[0]


def test_a_block_in_a_head_that_all_levels_share(images: list[str], tmp_path: Path) -> None:
    cfg = Config(detector_config("RetinaNet", Path("none.json"), Path(".")))
    torch.manual_seed(0)
    network = Network(cfg, None, "cpu")
    as_if_trained(network.model)
    convolutions = network.model.bbox_head.cls_convs
    block = CBAM(16, norm_weight=1.0, reduction=4).eval()
    convolutions[0] = torch.nn.Sequential(convolutions[0], block)
    options = Options(methods=["gates", "hires-cam"], at="bbox_head.cls_convs.0.1")
    (result,) = explain_images([network], images[:1], tmp_path, options, lambda _: None)
    *gates, cam = result.explanations
    assert [one.call for one in gates] == [n for n in (1, 2, 3) for _ in range(3)]
    assert cam.layer in [f"bbox_head.cls_convs.0.1[{n}]" for n in range(3)]
    with np.load(tmp_path / "0_explained.npz") as arrays:
        spatial = [arrays[f"gates_bbox_head.cls_convs.0.1_call_{n}_spatial"] for n in (1, 2, 3)]
        assert [one.shape for one in spatial] == [(16, 16), (8, 8), (4, 4)]
        assert len(arrays) == 10
    scores = [one.numbers["score_with_mean_gate"] for one in gates if one.name == "spatial"]
    level = int(cam.layer[-2])
    for call, score in enumerate(scores):
        changed = abs(score - result.target.score) > 1e-6
        assert changed == (call == level), "the other levels have their gates as ever"


def test_weights_are_put_back_after_randomisation(segmentor: Network, images: list[str]) -> None:
    before = {key: value.clone() for key, value in segmentor.model.state_dict().items()}
    sample = segmentor.prepare(Path(images[0]))
    target = choose_target(parse_target([], segmentor.classes), segmentor,
                           segmentor.outputs_of(sample), sample)  # fmt: skip
    again = lambda: explain(segmentor, sample, target, "hires-cam")[0]  # noqa: E731
    result = check_randomisation(segmentor, sample, again(), again, seeds=1, shares=(0.1, 1.0))
    assert result.spearman[1] < 0.9 and result.missing == 0
    for key, value in segmentor.model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_outputs_are_the_same_while_attention_is_recorded(
    segmentor: Network, images: list[str]
) -> None:
    sample = segmentor.prepare(Path(images[0]))
    plain = segmentor.outputs_of(sample).semantic
    modules = dict(segmentor.model.named_modules())
    with recorded_attention(modules, (64, 64)) as records, torch.enable_grad():
        recorded = segmentor(sample.inputs, sample).semantic
    assert len(records) == 2 and plain is not None and recorded is not None
    torch.testing.assert_close(recorded, plain, rtol=1e-5, atol=1e-5)
    assert not any(module._forward_hooks for module in segmentor.model.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(methods=["hires_cam"]), "no such method. Did you mean 'hires-cam'"),
        (dict(at="decode_haed.cca"), "no such module. Did you mean 'decode_head.cca'"),
        (dict(at="decode_head.convs.*"), r"stands for \d+ modules"),
        (dict(at="backbone[9]"), "returns 4 feature maps"),
        (dict(at="data_preprocessor"), "is not called when an image is"),
        (dict(methods=["attention"], at="backbone"), "no attention is known there"),
        (dict(target=["class=nothing"]), "no such class"),
    ],
)
def test_mistakes_are_named(
    segmentor: Network, images: list[str], tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        explain_images([segmentor], images[:1], tmp_path, Options(**options), lambda _: None)
