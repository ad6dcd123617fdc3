"""Deformable convolution, versions 1 and 2: mmcv's modules on the operator of mmattn.ops."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import mmcv.ops
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck as _gradcheck

from mmattn.ops import modulated_deform_conv2d, use_backend

gradcheck = functools.partial(_gradcheck, fast_mode=True)


@dataclass(frozen=True)
class Case:
    """One convolution; height and width differ everywhere, so that swapping them is noticed."""

    kernel: tuple[int, int] = (3, 2)
    stride: tuple[int, int] = (1, 2)
    padding: tuple[int, int] = (2, 1)
    dilation: tuple[int, int] = (2, 1)
    groups: int = 1
    deform_groups: int = 1

    def tensors(self, batch: int = 2) -> dict[str, Tensor]:
        channels, out_channels, size = 4, 6, (5, 6)
        out = [
            (size[d] + 2 * self.padding[d] - self.dilation[d] * (self.kernel[d] - 1) - 1)
            // self.stride[d]
            + 1
            for d in (0, 1)
        ]
        positions = self.deform_groups * self.kernel[0] * self.kernel[1]
        tensors = {
            "input": torch.randn(batch, channels, *size),
            "offset": torch.randn(batch, 2 * positions, *out) * 2,
            "mask": torch.rand(batch, positions, *out),
            "weight": torch.randn(out_channels, channels // self.groups, *self.kernel),
            "bias": torch.randn(out_channels),
        }
        return {name: t.double().requires_grad_() for name, t in tensors.items()}

    def version1(self, t: dict[str, Tensor], im2col_step: int = 32) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups, self.deform_groups)
        return mmcv.ops.deform_conv2d(
            t["input"], t["offset"], t["weight"], *geometry, False, im2col_step
        )

    def version2(self, t: dict[str, Tensor]) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups, self.deform_groups)
        return mmcv.ops.modulated_deform_conv2d(
            t["input"], t["offset"], t["mask"], t["weight"], t.get("bias"), *geometry
        )

    def reference(self, t: dict[str, Tensor], mask: bool) -> Tensor:
        with use_backend("reference"):
            return modulated_deform_conv2d(
                t["input"],
                t["offset"],
                t["mask"] if mask else None,
                t["weight"],
                None,
                self.stride,
                self.padding,
                self.dilation,
                self.groups,
                self.deform_groups,
            )


CASES = [
    Case(),
    Case(groups=2, deform_groups=2),
    Case(groups=2, deform_groups=4, stride=(2, 1), dilation=(1, 2)),
    Case(kernel=(1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1)),
]


def _loop(case: Case, t: dict[str, Tensor], mask: bool, read) -> Tensor:
    """The sum over channels and kernel positions, one product at a time."""
    input, offset, weight = (t[name].detach() for name in ("input", "offset", "weight"))
    (kh, kw), (out_h, out_w) = case.kernel, offset.shape[2:]
    output = torch.zeros(len(input), len(weight), out_h, out_w, dtype=torch.float64)
    per_group = input.size(1) // case.groups
    per_deform_group = input.size(1) // case.deform_groups
    for n, o, y, x in torch.cartesian_prod(*map(torch.arange, output.shape)).tolist():
        group = o // (len(weight) // case.groups)
        for c in range(per_group):
            channel = group * per_group + c
            for i in range(kh):
                for j in range(kw):
                    position = (channel // per_deform_group * kh + i) * kw + j
                    dy, dx = offset[n, 2 * position : 2 * position + 2, y, x].tolist()
                    value = read(
                        input[n, channel],
                        y * case.stride[0] - case.padding[0] + i * case.dilation[0] + dy,
                        x * case.stride[1] - case.padding[1] + j * case.dilation[1] + dx,
                    )
                    if mask:
                        value *= t["mask"][n, position, y, x].item()
                    output[n, o, y, x] += value * weight[o, c, i, j].item()
    return output


@pytest.mark.parametrize("case", CASES[1:3], ids=str)
def test_reads_at_displaced_points(case, read_zero_padded):
    t = case.tensors(batch=1)
    expected = _loop(case, t, False, read_zero_padded)
    torch.testing.assert_close(case.version1(t), expected)
    torch.testing.assert_close(case.reference(t, mask=False), expected)
    expected = _loop(case, t, True, read_zero_padded)
    torch.testing.assert_close(case.reference(t, mask=True), expected)
    expected = expected + t["bias"][:, None, None]
    torch.testing.assert_close(case.version2(t), expected)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_the_reference(case, version):
    t = case.tensors()
    if version == 1:
        names = ("input", "offset", "weight")
        output, expected = case.version1(t), case.reference(t, mask=False)
    else:
        names = ("input", "offset", "mask", "weight", "bias")
        output = case.version2(t)
        expected = case.reference(t, mask=True) + t["bias"][:, None, None]
    torch.testing.assert_close(output, expected)
    upstream = torch.randn_like(output)
    leaves = [t[name] for name in names]
    grads = torch.autograd.grad(output, leaves, upstream)
    for name, grad, target in zip(
        names, grads, torch.autograd.grad(expected, leaves, upstream), strict=True
    ):
        torch.testing.assert_close(grad, target, msg=lambda text, name=name: f"{name}: {text}")


def test_reference_gradients_are_derivatives():
    case = CASES[1]
    t = case.tensors(batch=1)
    names = ("input", "offset", "weight", "mask")

    def run(*tensors):
        return case.reference(dict(zip(names, tensors, strict=True)), mask=True)

    assert gradcheck(run, [t[name] for name in names])


def test_without_displacement_it_is_a_convolution():
    case = CASES[1]
    t = case.tensors()
    zero = {**t, "offset": torch.zeros_like(t["offset"])}
    expected = torch.nn.functional.conv2d(
        t["input"], t["weight"], None, case.stride, case.padding, case.dilation, case.groups
    )
    torch.testing.assert_close(case.version1(zero), expected)
    ones = {**zero, "mask": torch.ones_like(t["mask"])}
    del ones["bias"]
    torch.testing.assert_close(case.version2(ones), expected)


@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_larger_offsets_are_read_from_their_beginning(case):
    """mmdet's DyHead passes the offsets of a finer level; its weights count on what mmcv does."""
    t = case.tensors()
    names = ("offset", "mask")
    finer = {
        name: torch.randn(2, t[name].size(1), 9, 11, dtype=torch.float64).requires_grad_()
        for name in names
    }
    beginning = {
        name: finer[name].flatten(1)[:, : t[name][0].numel()].view(t[name].shape) for name in names
    }
    output, expected = case.version2({**t, **finer}), case.version2({**t, **beginning})
    assert torch.equal(output, expected)
    leaves = [*finer.values(), t["input"], t["weight"]]
    upstream = torch.randn_like(output)
    grads = torch.autograd.grad(output, leaves, upstream)
    for grad, target in zip(grads, torch.autograd.grad(expected, leaves, upstream), strict=True):
        torch.testing.assert_close(grad, target)


def test_smaller_offsets_are_refused():
    t = CASES[0].tensors()
    t["offset"] = t["offset"][:, :, :2]
    with pytest.raises(ValueError, match="too small for the output"):
        CASES[0].version2(t)
    with pytest.raises(ValueError, match="offset must have shape"):
        CASES[0].version1(t)


def test_im2col_step_changes_nothing():
    t = CASES[0].tensors(batch=4)
    torch.testing.assert_close(CASES[0].version1(t, im2col_step=2), CASES[0].version1(t))


def test_only_the_weight_may_need_a_gradient():
    t = CASES[0].tensors()
    whole = torch.autograd.grad(CASES[0].version1(t).sum(), t["weight"])[0]
    frozen = {**t, "input": t["input"].detach(), "offset": t["offset"].detach()}
    alone = torch.autograd.grad(CASES[0].version1(frozen).sum(), t["weight"])[0]
    torch.testing.assert_close(alone, whole)


@pytest.mark.parametrize("pack", ["DeformConv2dPack", "ModulatedDeformConv2dPack"])
def test_packs_train_and_start_as_plain_convolutions(pack):
    module = getattr(mmcv.ops, pack)(4, 6, 3, padding=1, deform_groups=2)
    image = torch.randn(2, 4, 7, 8)
    output = module(image)
    plain = torch.nn.functional.conv2d(image, module.weight, padding=1)
    if pack.startswith("Modulated"):
        plain = plain * 0.5 + module.bias[:, None, None]  # sigmoid(0)
    torch.testing.assert_close(output, plain, rtol=1e-4, atol=1e-5)
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_empty_batch():
    case = CASES[1]
    t = case.tensors(batch=0)
    expected = case.reference(t, mask=True)
    # mmcv's own output size check refuses an empty batch, so the function below it is called.
    from mmcv import _ext

    t = {name: tensor.detach() for name, tensor in t.items()}
    output, scratch = torch.zeros(expected.shape, dtype=torch.float64), torch.zeros(0)
    grads = {name: torch.zeros_like(tensor) for name, tensor in t.items()}
    geometry = (*case.kernel, *case.stride, *case.padding, *case.dilation, 2, 2, True)
    _ext.modulated_deform_conv_forward(
        *(t["input"], t["weight"], t["bias"], scratch, t["offset"], t["mask"], output, scratch),
        *geometry,
    )
    _ext.modulated_deform_conv_backward(
        *(t["input"], t["weight"], t["bias"], scratch, t["offset"], t["mask"], scratch),
        *(grads[name] for name in ("input", "weight", "bias", "offset", "mask")),
        output,
        *geometry,
    )
    assert not any(grad.any() for grad in grads.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_round_once(dtype):
    case = CASES[1]
    t = {name: tensor.detach().to(dtype) for name, tensor in case.tensors().items()}
    exact = {name: tensor.float() for name, tensor in t.items()}
    assert torch.equal(case.version1(t), case.version1(exact).to(dtype))
    assert torch.equal(case.version2(t), case.version2(exact).to(dtype))


def test_far_offsets_read_nothing():
    case = CASES[0]
    t = case.tensors()
    with torch.no_grad():
        t["offset"].fill_(1e30)
    assert not case.version1(t).any()
    assert not case.reference(t, mask=False).any()
