"""Gradient maps: values of a float64 reference, closed forms, and two other packages."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmattn.explain import cam
from mmattn.testing.golden import golden_image, golden_value

#: Raw maps at ``act2`` (4 x 5, row by row) of the network below.
GOLDEN = {
    "grad-cam": """0.041616302 0.0979734682 0.0983244895 0.0986364517 0.0894581858 0.100999781
        0.183293518 0.183181252 0.182996225 0.163208258 0.0994332662 0.178911612 0.17807855
        0.177174769 0.156930478 0.0882334247 0.13984147 0.137497944 0.134021006 0.109507889""",
    "grad-cam++": """0.286863628 0.613049413 0.619005593 0.624713443 0.579294708 0.744371194
        1.41945799 1.41902597 1.41802882 1.27621509 0.736321897 1.38980225 1.38376394 1.3771746
        1.23201693 0.692097912 1.28647864 1.28421363 1.28622329 1.16029578""",
    "layer-cam": """0.036819449 0.139874314 0.200601258 0.13089944 0.06210772 0.144112363
        0.560584859 0.862210308 0.59132509 0.271190654 0.158785998 0.595325575 0.875765343
        0.574780265 0.252474724 0.0747501205 0.273071486 0.395914783 0.257121816 0.112275826""",
    "hires-cam": """0.036819449 0.139579427 0.198314615 0.125577602 0.0526099903 0.106155478
        0.349883125 0.502900469 0.322075535 0.136180108 0.071309183 0.238874256 0.320519098
        0.189634056 0.0752342871 0.0249996969 0.0719598448 0.0912095111 0.0498848293 0.016491974""",
    "eigen-cam": """-13.575917 -7.82728173 -7.7195995 -7.61652047 -8.46789344 -5.47502935
        6.92765728 6.919443 6.90082815 4.28379488 -5.62563365 6.37925526 6.26786824 6.1463414
        3.46764676 -6.46513823 4.46123774 4.4197663 4.45704758 2.14212682""",
    "norm-grad": """0.0846479892 0.328063335 0.487601726 0.325691606 0.147778513 0.34301906
        1.27001682 1.88223408 1.25440167 0.562432326 0.330258244 1.22138084 1.81831222 1.21757924
        0.54732658 0.157449382 0.579926279 0.868636097 0.586958117 0.267295992""",
    "norm-grad-scaling": """0.029553743 0.116167126 0.17263737 0.115861014 0.05335901 0.129037643
        0.490979045 0.734120366 0.494273713 0.224714914 0.133650247 0.504221742 0.758825012
        0.513140448 0.232482847 0.066351567 0.245499788 0.369077792 0.249847044 0.113519686""",
    "norm-grad-bias": """0.0126567484 0.0250144014 0.0370066882 0.0246125169 0.0122591471
        0.0239695845 0.0474437757 0.0703433828 0.0469179664 0.0234498596 0.0233821529 0.0466521563
        0.0697637038 0.0469441153 0.0236706231 0.0121300382 0.0243055365 0.0364880193 0.0246359081
        0.0124566895""",
    "norm-grad-3x3": """0.42698434 1.12639429 1.91152589 1.23064496 0.491970704 1.07810355
        2.84343503 4.82534676 3.10750509 1.2448014 1.17936551 3.13164107 5.3534273 3.47753229
        1.40547214 0.48863081 1.30182205 2.23178195 1.45362673 0.588960921""",
}


def network() -> nn.Sequential:
    """Three convolutions and a 1x1 classifier with computed weights, in float64."""
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 4, 3, padding=1),
            act1=nn.ReLU(),
            conv2=nn.Conv2d(4, 6, 3, stride=2, padding=1),
            act2=nn.ReLU(),
            conv3=nn.Conv2d(6, 5, 3, padding=1),
            act3=nn.ReLU(),
            head=nn.Conv2d(5, 3, 1),
        )
    )
    state = {key: golden_value(key, tuple(t.shape)) for key, t in model.state_dict().items()}
    model.load_state_dict(state)
    return model.double().eval()


def image() -> Tensor:
    return 3 * golden_image(1, 3, 8, 10).double()


def score(logits: Tensor) -> Tensor:
    return logits[0, 1, 1:3, 1:4].mean()


def activation_and_gradient(layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, dy/dA and y."""
    model, kept = network(), []
    model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    y = score(model(image()))
    (gradient,) = torch.autograd.grad(y, kept)
    return kept[0][0].detach(), gradient[0], y.detach()


def test_the_target_is_the_published_number() -> None:
    assert activation_and_gradient("act2")[2].item() == pytest.approx(3.0596553, abs=1e-6)


@pytest.mark.parametrize("method", GOLDEN)
def test_maps_are_those_of_the_reference(method: str) -> None:
    a, g, _ = activation_and_gradient("act2")
    expected = np.array(GOLDEN[method].split(), float)
    np.testing.assert_allclose(cam.METHODS[method](a, g).flatten(), expected, rtol=2e-6)


def test_hires_cam_completes_the_score_where_the_tail_is_linear() -> None:
    a, g, y = activation_and_gradient("act3")
    values = cam.hires_cam(a, g)
    bias = network().head.bias
    assert isinstance(bias, Tensor)
    assert (values.sum() + bias[1]).item() == pytest.approx(y.item(), abs=1e-12)
    outside = torch.ones(4, 5, dtype=torch.bool)
    outside[1:3, 1:4] = False
    assert (values[outside] == 0).all()
    assert cam.grad_cam(a, g).sum().item() == pytest.approx(2.07772789, abs=1e-6)


@pytest.mark.parametrize("method", ["norm-grad-selective", "norm-grad-depthwise"])
def test_norm_grad_by_its_definition(method: str) -> None:
    """Against the sums over all pairs of channels, and over the patch, written out."""
    a, g = torch.randn(2, 5, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if method == "norm-grad-selective":
        pairs = (a[:, None] * g[None]).clamp_min(0)
        expected = pairs.square().sum((0, 1)).sqrt()
    else:
        patches = torch.nn.functional.unfold(a[None], 3, padding=1).view(5, 9, 4, 6)
        expected = (g.square() * patches.square().sum(1)).sum(0).sqrt()
    torch.testing.assert_close(cam.METHODS[method](a, g), expected)


def test_scaling_the_score_scales_the_maps() -> None:
    a, g, _ = activation_and_gradient("act2")
    for name in ("grad-cam", "layer-cam", "hires-cam", "norm-grad", "norm-grad-3x3"):
        torch.testing.assert_close(cam.METHODS[name](a, 3 * g), 3 * cam.METHODS[name](a, g))


def test_captum_gives_the_same_raw_maps() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    model = network()
    forward = lambda x: model(x)[:, 1, 1:3, 1:4].mean((1, 2))[:, None]  # noqa: E731
    a, g, _ = activation_and_gradient("act2")
    theirs = attr.LayerGradCam(forward, model.act2).attribute(image(), target=0)
    torch.testing.assert_close(theirs[0, 0], cam.grad_cam(a, g), rtol=0, atol=1e-14)
    product = attr.LayerGradientXActivation(forward, model.act2).attribute(image(), target=0)
    torch.testing.assert_close(product[0].sum(0), cam.hires_cam(a, g), rtol=0, atol=1e-14)


def test_grad_cam_package_gives_the_same_maps_after_its_scaling() -> None:
    pytorch_grad_cam = pytest.importorskip(
        "pytorch_grad_cam", reason="grad-cam is not installed", exc_type=ImportError
    )
    import cv2

    model, x = network().float(), image().float()
    a, g, _ = activation_and_gradient("act2")
    classes = {
        "grad-cam": "GradCAM",
        "grad-cam++": "GradCAMPlusPlus",
        "layer-cam": "LayerCAM",
        "hires-cam": "HiResCAM",
    }

    def scaled(values: np.ndarray) -> np.ndarray:
        values = values - values.min()
        return values / (1e-7 + values.max())

    for method, name in classes.items():
        with getattr(pytorch_grad_cam, name)(model=model, target_layers=[model.act2]) as theirs:
            found = theirs(input_tensor=x, targets=[lambda out: out[1, 1:3, 1:4].mean()])[0]
        ours = np.maximum(cam.METHODS[method](a, g).numpy(), 0).astype(np.float32)
        expected = scaled(cv2.resize(scaled(ours), (10, 8)))
        np.testing.assert_allclose(found, expected, atol=2e-5, err_msg=method)
