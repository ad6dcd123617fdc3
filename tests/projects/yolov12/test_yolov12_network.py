"""Promise: backbone and neck have the authors' switches, take any size, and can be used apart."""

from __future__ import annotations

import pytest
import torch
from mmdet.models import ResNet
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn
from torch.nn import functional as F

from mmattn.config import load_config
from mmattn.errors import ConfigError
from mmattn.projects.yolov12 import ABlock, AreaAttention, YOLOv12Backbone, YOLOv12Neck
from mmattn.projects.yolov12.conv_blocks import Bottleneck, C3k, Conv
from mmattn.projects.yolov12.r_elan import A2C2f
from mmattn.projects.yolov12.scales import SCALES
from mmattn.registry import MODELS

CHANNELS = {
    "n": (16, 64, 128, 128, 256),
    "s": (32, 128, 256, 256, 512),
    "m": (64, 256, 512, 512, 512),
    "l": (64, 256, 512, 512, 512),
    "x": (96, 384, 768, 768, 768),
}


@pytest.fixture(params=SCALES)
def backbone(request: pytest.FixtureRequest) -> tuple[str, YOLOv12Backbone]:
    with torch.device("meta"):
        return request.param, YOLOv12Backbone(request.param, out_levels=(2, 3, 4, 5))


def test_channels_and_heads(backbone) -> None:
    scale, net = backbone
    assert (net.stem.conv.out_channels, *net.out_channels) == CHANNELS[scale]
    heads = [m.num_heads for m in net.modules() if isinstance(m, AreaAttention)]
    half = len(heads) // 2
    p4, p5 = (channels // 2 // 32 for channels in CHANNELS[scale][3:])
    assert heads == [p4] * half + [p5] * half


def test_four_areas_at_stride_16_and_one_at_32(backbone) -> None:
    _, net = backbone
    for stage, areas in ((net.stage4, 4), (net.stage5, 1)):
        found = {m.areas for m in stage.modules() if isinstance(m, AreaAttention)}
        assert found == {areas}


def test_switches_of_the_scales(backbone) -> None:
    """C3k from m on; the shortcut and the narrow feed-forward network at l and x alone."""
    scale, net = backbone
    large = scale in "lx"
    for stage in (net.stage2, net.stage3):
        kinds = {type(unit) for unit in stage[1].units}
        assert kinds == {Bottleneck if scale in "ns" else C3k}
    for stage in (net.stage4, net.stage5):
        assert len(stage[1].units) == (4 if large else 2)
        assert (stage[1].gamma is not None) == large
    blocks = [m for m in net.modules() if isinstance(m, ABlock)]
    ratios = {m.mlp[0].conv.out_channels / m.mlp[0].conv.in_channels for m in blocks}
    assert ratios == {1.5 if large else 2.0}


@pytest.mark.parametrize(
    ("version", "groups", "kernel", "ratio"), [("turbo", (2, 4), 5, 1.5), ("v1.0", (1, 1), 7, 1.2)]
)
def test_switches_of_the_versions(version: str, groups: tuple, kernel: int, ratio: float) -> None:
    with torch.device("meta"):
        net = YOLOv12Backbone("l", version=version)
    assert (net.stage2[0].conv.groups, net.stage3[0].conv.groups) == groups
    assert net.stage4[0].conv.groups == net.stage5[0].conv.groups == 1
    block = net.stage4[1].units[0][0]
    assert block.attention.pe.conv.kernel_size == (kernel, kernel)
    assert block.mlp[0].conv.out_channels == int(256 * ratio)


def test_norms_are_not_torchs_defaults(build_meta) -> None:
    for norm_cfg in (None, {"type": "SyncBN"}):
        parts = {f"{part}__norm_cfg": norm_cfg for part in ("backbone", "neck", "bbox_head")}
        model = build_meta("n", **parts)
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert len(norms) > 100
        assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}
    other = Conv(4, 4, norm_cfg={"type": "BN", "eps": 1e-5}).bn
    assert (other.eps, other.momentum) == (1e-5, 0.03)
    with pytest.raises(ValueError, match="norm_cfg must be a batch norm"):
        Conv(4, 4, norm_cfg={"type": "IN"})


def test_shortcut_is_scaled_by_gamma() -> None:
    torch.manual_seed(0)
    block = A2C2f(64, 64, residual_scale=0.01).eval()
    assert torch.equal(block.gamma, torch.full((64,), 0.01))
    x = torch.randn(1, 64, 4, 4)
    added = block(x) - x
    block.gamma.data.mul_(3)
    torch.testing.assert_close(block(x) - x, 3 * added, rtol=1e-3, atol=1e-6)
    block.gamma = None
    torch.testing.assert_close(0.01 * block(x), added, rtol=1e-3, atol=1e-6)


def test_no_shortcut_where_it_is_not_asked_for() -> None:
    block = A2C2f(64, 64)
    assert block.gamma is None
    assert "gamma" not in block.state_dict()


@pytest.mark.parametrize("options", [{"areas": None}, {"out_channels": 128}])
def test_shortcut_needs_attention_and_equal_channels(options: dict) -> None:
    with pytest.raises(ValueError, match="residual_scale needs attention and as many channels"):
        A2C2f(**{"in_channels": 64, "out_channels": 64, "residual_scale": 0.01, **options})


def test_no_attention_is_areas_none_not_minus_one() -> None:
    assert not [m for m in A2C2f(64, 64, areas=None).modules() if isinstance(m, ABlock)]
    with pytest.raises(ValueError, match="areas must be at least 1, got -1"):
        A2C2f(64, 64, areas=-1)


def test_options_for_all_scales() -> None:
    net = YOLOv12Backbone("n", residual_scale=0.1, mlp_ratio=1.5, qk_norm=True)
    for stage in (net.stage4, net.stage5):
        assert stage[1].gamma[0].item() == pytest.approx(0.1)
    block = net.stage4[1].units[0][0]
    assert block.mlp[0].conv.out_channels == 96
    assert isinstance(block.attention.q_norm, nn.RMSNorm)
    with torch.device("meta"):
        assert YOLOv12Backbone("l", residual_scale=None).stage4[1].gamma is None


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="scale must be one of 'n', 's', 'm', 'l', 'x', got 'xl'"):
        YOLOv12Backbone("xl")
    with pytest.raises(ConfigError, match=r"version must be one of 'turbo'.* Did you mean 'turbo'"):
        YOLOv12Backbone("n", version="turbo2")
    with pytest.raises(ConfigError, match="out_levels must be some of 2, 3, 4, 5"):
        YOLOv12Backbone("n", out_levels=(3, 6))
    with pytest.raises(ConfigError, match="frozen_stages must be 0 to 5, got 6"):
        YOLOv12Backbone("n", frozen_stages=6)
    with pytest.raises(ConfigError, match="in_channels must be three numbers"):
        YOLOv12Neck((64, 128), (64, 128, 256))


@pytest.mark.parametrize("size", [(608, 608), (96, 160), (100, 75), (33, 40)])
def test_any_size_runs(build, size: tuple[int, int]) -> None:
    """608 gives 38 x 38 at stride 16, whose 4 areas cut rows; 100 x 75 is no multiple of 32."""
    model = build("n").eval()
    with torch.no_grad():
        cls_scores, _ = model(torch.zeros(1, 3, *size), mode="tensor")
    expected = [tuple(-(-side // stride) for side in size) for stride in (8, 16, 32)]
    assert [tuple(scores.shape[2:]) for scores in cls_scores] == expected
    assert all(scores.isfinite().all() for scores in cls_scores)


def test_neck_enlarges_by_repeating_and_reads_p5_again() -> None:
    torch.manual_seed(0)
    neck = YOLOv12Neck((8, 16, 32), (16, 16, 32)).eval()
    maps = [torch.randn(1, 8 * 2**i, 8 // 2**i, 8 // 2**i) for i in range(3)]
    seen = {}
    for name in ("top_down4", "bottom_up5"):
        neck.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, args[0])
        )
    neck(maps)
    repeated = maps[2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(seen["top_down4"], torch.cat((repeated, maps[1]), 1))
    assert torch.equal(seen["bottom_up5"][:, 16:], maps[2])


@pytest.mark.parametrize("size", [5, 6, 75])
def test_odd_sizes_are_enlarged_by_the_same_rule(size: int) -> None:
    from mmattn.projects.yolov12.neck import _enlarged

    half = torch.arange(-(-size // 2)).float().view(1, 1, -1, 1)
    expected = torch.arange(size).div(2, rounding_mode="floor").float()
    assert torch.equal(_enlarged(half, torch.zeros(1, 1, size, 1)).flatten(), expected)


def test_frozen_stages_do_not_learn_nor_count() -> None:
    net = YOLOv12Backbone("n", frozen_stages=3).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    sum(m.square().mean() for m in net(torch.randn(2, 3, 64, 64))).backward()
    frozen = ("stem.", "stage2.", "stage3.")
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == name.startswith(frozen), name
    changed = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert not [key for key in changed if key.startswith(frozen)]


def test_norm_eval_keeps_statistics() -> None:
    net = YOLOv12Backbone("n", norm_eval=True).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.filterwarnings("ignore")  # mmdet's own
def test_backbone_under_a_pyramid_and_faster_rcnn_learns() -> None:
    cfg = load_config("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py").model
    cfg.backbone = {"type": "mmattn.YOLOv12Backbone", "scale": "n", "out_levels": (2, 3, 4, 5)}
    cfg.neck.in_channels = [64, 128, 128, 256]
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg).train()
    sample = DetDataSample(metainfo={"img_shape": (128, 160), "pad_shape": (128, 160)})
    boxes = torch.tensor([[10.0, 10, 60, 90], [80, 20, 150, 100]])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1, 2]))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = model.backbone.stage5[1].merge.conv.weight.clone()
    losses = model(torch.rand(1, 3, 128, 160), [sample], mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    optimizer.step()
    assert total.isfinite()
    assert not torch.equal(before, model.backbone.stage5[1].merge.conv.weight)


@pytest.mark.filterwarnings("ignore")  # mmdet's own
def test_attention_as_a_plugin_of_a_resnet() -> None:
    plugin = {"cfg": {"type": "mmattn.AreaAttention", "areas": 4}, "position": "after_conv3"}
    net = MODELS.build(
        {
            "type": "mmdet.ResNet",
            "depth": 50,
            "plugins": [{**plugin, "stages": (False, False, True, False)}],
        }
    )
    assert isinstance(net, ResNet)
    net.init_weights()
    blocks = [m for m in net.modules() if isinstance(m, AreaAttention)]
    assert len(blocks) == 6
    stds = {round(block.qk.conv.weight.std().item(), 3) for block in blocks}
    assert stds == {0.02}, "the network's initialisation undid that of the block"
    net.train()
    sum(m.square().mean() for m in net(torch.randn(2, 3, 64, 64))).backward()
    assert all(block.qk.conv.weight.grad is not None for block in blocks)


def test_silu_follows_every_convolution_but_those_of_attention(build_meta) -> None:
    silent = {
        name
        for name, module in build_meta("n").named_modules()
        if isinstance(module, Conv) and not module.activation
    }
    assert {name.rsplit(".", 1)[-1] for name in silent} == {"qk", "v", "pe", "proj", "1"}
    conv = Conv(4, 4).eval()
    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(conv(x), F.silu(conv.bn(conv.conv(x))))


def test_blocks_are_put_behind_the_neck_without_saying_what_it_is_given() -> None:
    neck = {"type": "mmattn.YOLOv12Neck", "in_channels": (8, 16, 32), "out_channels": (16, 16, 32)}
    block = {"cfg": {"type": "mmattn.SE"}, "stages": [0, 1, 2]}
    network = MODELS.build({"type": "mmattn.WithPlugins", "inner": neck, "plugins": [block]})
    assert len(network.plugins) == 3
