"""Promise: the authors' checkpoints load with no key left over, and ours go back to them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.bevanet import BEVANet, BEVANetClassifier

SEGMENTATION, IMAGENET = "bevanet-official", "bevanet-official-imagenet"
CLASSIFIER = "bevanet-official-classifier"
# Keys that the authors' files are known to have, one of each kind, and ours for them.
KNOWN = {
    "conv1.0.bias": "backbone.stem.0.conv.bias",
    "conv1.4.running_var": "backbone.stem.2.norm.running_var",
    "layer1.1.bn2.weight": "backbone.layer1.1.conv2.norm.weight",
    "layer2.0.downsample.0.weight": "backbone.layer2.0.shortcut.conv.weight",
    "layer3_semantic.2.conv1.weight": "backbone.semantic3.2.conv1.conv.weight",
    "layer3_detail.1.bn1.bias": "backbone.detail3.1.conv1.norm.bias",
    "compression3.0.weight": "backbone.guide3.compress.conv.weight",
    "fuse_sd_4.f_x.1.weight": "backbone.guide4.embed_detail.norm.weight",
    "fuse_sd_4.f_y.0.weight": "backbone.guide4.embed_semantic.conv.weight",
    "layer4_down_semantic.0.downsample.1.bias": "backbone.semantic4.0.shortcut.norm.bias",
    "layer4_semantic_1.layer_scale_1": "backbone.semantic4.1.attention.scale",
    "layer4_semantic_2.norm2.weight": "backbone.semantic4.3.mlp.norm.weight",
    "norm4_semantic_2.weight": "backbone.semantic4.4.weight",
    "layer4_semantic_1.attn.proj_2.pwconv.bias": "backbone.semantic4.1.attention.project_out.bias",
    "layer4_detail.attn.spatial_gating_unit.DW_D_conv_v.dwconv.weight": (
        "backbone.detail4.1.attention.gate.vertical.weight"
    ),
    "layer4_detail.attn.spatial_gating_unit.FS_kernel.fc_expand_big_h.1.dwconv.bias": (
        "backbone.detail4.1.attention.gate.select.expand.horizontal.depthwise.bias"
    ),
    "layer4_detail.attn.spatial_gating_unit.FS_kernel.conv_squeeze.weight": (
        "backbone.detail4.1.attention.gate.select.spatial.weight"
    ),
    "layer4_detail.mlp.fc1.pwconv.weight": "backbone.detail4.1.mlp.expand.weight",
    "norm4_detail.bias": "backbone.detail4.2.bias",
    "layer5_detail_semantic.0.bn3.weight": "backbone.detail5.conv3.norm.weight",
    "layer5_detail_boundary.0.downsample.0.weight": "backbone.boundary5.shortcut.conv.weight",
    "layer5_down_semantic_seg.0.conv2.weight": "backbone.semantic5.0.conv2.conv.weight",
    "norm5_semantic_1_seg.bias": "backbone.semantic5.2.bias",
    "spp.bn.weight": "backbone.context.attention.norm.weight",
    "spp.layer_scale_lska": "backbone.context.attention.scale",
    "spp.process_lska.2.weight": "backbone.context.process.2.conv.weight",
    "dfm.conv_i.0.running_mean": "backbone.fusion.semantic.norm.running_mean",
    "dfm.out.2.weight": "backbone.fusion.out.conv.weight",
    "head.bn1.weight": "decode_head.main.conv.norm.weight",
    "head.conv2.bias": "decode_head.conv_seg.bias",
    "seghead_ds.conv1.weight": "decode_head.auxiliary.conv.conv.weight",
    "seghead_db.bn2.bias": "decode_head.boundary.norm.bias",
    "seghead_db.conv2.weight": "decode_head.boundary_seg.weight",
}


@pytest.fixture(scope="module")
def theirs(golden_narrow, golden_state) -> dict[str, Tensor]:
    """A segmentation file of the authors: their loss wrapper's state."""
    return {**golden_state(golden_narrow), "sem_loss.criterion.weight": torch.ones(19)}


def test_every_key_has_a_place_and_a_way_back(golden_narrow, theirs) -> None:
    there = convert_checkpoint(theirs)
    assert (there.converter, there.left_out) == (SEGMENTATION, ("sem_loss.criterion.weight",))
    assert load_state_dict(golden_narrow, there.state_dict, strict=True).complete
    back = convert_checkpoint(there.state_dict, SEGMENTATION, reverse=True).state_dict
    assert [*back, "sem_loss.criterion.weight"] == list(theirs)
    assert all(torch.equal(back[key], theirs[key]) for key in back)


def test_prefix_may_be_missing(theirs) -> None:
    bare = {key.removeprefix("model."): value for key, value in theirs.items() if "model." in key}
    there = convert_checkpoint({"state_dict": bare})
    assert there.converter == SEGMENTATION
    assert set(there.state_dict) == set(convert_checkpoint(theirs).state_dict)


def test_known_keys_go_where_they_belong(theirs) -> None:
    converted = convert_checkpoint(theirs).state_dict
    for old, new in KNOWN.items():
        assert torch.equal(converted[new], theirs[f"model.{old}"]), old


def test_unknown_key_is_an_error_not_a_loss(theirs) -> None:
    with pytest.raises(CheckpointError, match=r"1 keys are not of this layout: model\.spp\.scale3"):
        convert_checkpoint({**theirs, "model.spp.scale3.0.weight": torch.zeros(1)})


def imagenet_state(classifier: BEVANetClassifier) -> dict[str, Tensor]:
    """An ImageNet file of the authors, whose names are spelt here once more."""

    def block(theirs: str, ours: str) -> dict[str, str]:
        names = {f"{theirs}.downsample.0": f"{ours}.shortcut.conv"}
        names[f"{theirs}.downsample.1"] = f"{ours}.shortcut.norm"
        for i in (1, 2, 3):
            names[f"{theirs}.conv{i}"] = f"{ours}.conv{i}.conv"
            names[f"{theirs}.bn{i}"] = f"{ours}.conv{i}.norm"
        return names

    end = {
        **block("layer5_detail_semantic.0", "detail5"),
        **block("layer5_down_semantic_cls.0", "semantic_end.0"),
        **block("layer5_semantic_bn_cls.0", "semantic_end.5"),
        "norm5_semantic_1_cls": "semantic_end.2",
        "norm5_semantic_2_cls": "semantic_end.4",
        "layer5_down.0": "detail_end.0.conv",
        "layer5_down.1": "detail_end.0.norm",
        "layer5_down.3": "detail_end.2.conv",
        "layer5_down.4": "detail_end.2.norm",
        "last_layer.0": "hidden.conv",
        "last_layer.1": "hidden.norm",
        "head": "classify",
    }
    theirs = {}
    own = {ours: name for name, ours in end.items()}
    for key, value in classifier.state_dict().items():
        module, _, entry = key.rpartition(".")
        if module in own:
            theirs[f"{own[module]}.{entry}"] = value
        elif key.startswith(("semantic_end.1.", "semantic_end.3.")):
            # The same block as in stage 4, whose names the tests above know.
            place = key.split(".")[1]
            twin = key.replace(f"semantic_end.{place}", f"backbone.semantic4.{place}")
            name = convert_checkpoint({twin: value}, SEGMENTATION, reverse=True).state_dict
            (name,) = name
            number = 1 if place == "1" else 2
            name = name.removeprefix("model.").replace(
                f"layer4_semantic_{number}", f"layer5_semantic_{number}_cls"
            )
            theirs[name] = value
        else:
            whole = {f"backbone.{key}": value}
            (name,) = convert_checkpoint(whole, SEGMENTATION, reverse=True).state_dict
            theirs[name.removeprefix("model.")] = value
    return theirs


@pytest.fixture(scope="module")
def classifier() -> BEVANetClassifier:
    torch.manual_seed(0)
    net = BEVANetClassifier(channels=8, num_blocks=(2, 2, 3), hidden_channels=24, num_classes=7)
    for value in net.state_dict().values():
        if value.is_floating_point() and value.dim() == 1:
            value.uniform_(0.5, 1.5)
    return net.eval()


def test_imagenet_file_fills_what_the_authors_loader_fills(classifier, golden_narrow) -> None:
    """They take every weight whose name and shape their segmentation network has."""
    theirs = imagenet_state(classifier)
    network = {
        key.removeprefix("model."): value
        for key, value in convert_checkpoint(
            golden_narrow.state_dict(), SEGMENTATION, reverse=True
        ).state_dict.items()
    }
    taken = {
        key for key, value in theirs.items() if key in network and network[key].shape == value.shape
    }
    there = convert_checkpoint(theirs)
    assert there.converter == IMAGENET
    assert set(there.left_out) == theirs.keys() - taken
    assert {key.split(".")[0] for key in there.left_out} == {
        "layer5_down_semantic_cls",
        "layer5_semantic_1_cls",
        "layer5_semantic_2_cls",
        "layer5_semantic_bn_cls",
        "norm5_semantic_1_cls",
        "norm5_semantic_2_cls",
        "layer5_down",
        "last_layer",
        "head",
    }
    assert "semantic5, boundary5, context, fusion" in there.note
    net = BEVANet(channels=8, num_blocks=(2, 2, 3), context_channels=16)
    report = load_state_dict(net, there.state_dict)
    assert not report.unexpected
    assert not report.mismatched
    assert report.matched == len([key for key in taken if "num_batches" not in key])
    ours = {"semantic5", "boundary5", "context", "fusion"}
    assert {key.split(".")[0] for key in report.missing} == ours
    back = convert_checkpoint(there.state_dict, IMAGENET, reverse=True).state_dict
    assert back.keys() == taken
    assert all(torch.equal(back[key], theirs[key]) for key in back)


@pytest.mark.parametrize(
    ("variant", "count"), [({}, 389), ({"channels": 32, "num_blocks": (2, 2, 3)}, 379)]
)
def test_number_of_weights_taken_is_the_authors(variant: dict, count: int) -> None:
    """Without the counters of norms, which their files do not all have."""
    with torch.device("meta"):
        state = imagenet_state(BEVANetClassifier(**variant))
        taken = convert_checkpoint(state).state_dict
    assert len([key for key in taken if "num_batches" not in key]) == count
    assert any(key.startswith("detail5.") for key in taken)


def test_whole_imagenet_file_fills_the_classifier_and_goes_back(classifier) -> None:
    theirs = imagenet_state(classifier)
    there = convert_checkpoint(theirs, CLASSIFIER)
    assert there.left_out == ()
    net = BEVANetClassifier(
        channels=8, num_blocks=(2, 2, 3), hidden_channels=24, num_classes=7
    ).eval()
    assert load_state_dict(net, there.state_dict, strict=True).complete
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(net(x), classifier(x))
    for name in (CLASSIFIER, IMAGENET):
        back = convert_checkpoint(net.state_dict(), name, reverse=True).state_dict
        assert back.keys() == theirs.keys()
        assert all(torch.equal(back[key], theirs[key]) for key in back)


def test_a_whole_backbone_goes_back_to_the_names_of_their_network(golden_narrow) -> None:
    backbone = golden_narrow.backbone.state_dict()
    back = convert_checkpoint(backbone, IMAGENET, reverse=True).state_dict
    network = convert_checkpoint(golden_narrow.state_dict(), SEGMENTATION, reverse=True).state_dict
    assert len(back) == len(backbone)
    assert all(torch.equal(network[f"model.{key}"], value) for key, value in back.items())


def test_unknown_keys_of_an_imagenet_file(classifier) -> None:
    theirs = imagenet_state(classifier)
    extra = {"layer5_down.6.weight": torch.zeros(1)}  # another classifier of theirs
    assert "layer5_down.6.weight" in convert_checkpoint({**theirs, **extra}).left_out
    with pytest.raises(CheckpointError, match=r"1 keys are not of this layout: layer5_down\.6"):
        convert_checkpoint({**theirs, **extra}, CLASSIFIER)
    with pytest.raises(CheckpointError, match=r"1 keys are not of this layout: other\.weight"):
        convert_checkpoint(
            {**classifier.state_dict(), "other.weight": torch.zeros(1)}, IMAGENET, reverse=True
        )
