"""mmcv's masked convolution: a convolution where the mask is set, 0 elsewhere."""

from __future__ import annotations

import mmcv.ops
import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore:This overload of addmm is deprecated")


@pytest.mark.parametrize(("kernel", "padding"), [((3, 5), (1, 2)), (1, 0)])
@torch.no_grad()
def test_convolves_at_the_chosen_pixels(kernel, padding):
    module = mmcv.ops.MaskedConv2d(3, 4, kernel, padding=padding).double()
    image = torch.randn(1, 3, 6, 7, dtype=torch.float64)
    mask = torch.rand(1, 6, 7) > 0.5
    expected = torch.nn.Conv2d.forward(module, image) * mask
    torch.testing.assert_close(module(image, mask), expected)
    assert not module(image, torch.zeros_like(mask)).any()


@torch.no_grad()
def test_no_chosen_pixel_reads_and_writes_nothing():
    from mmcv import _ext

    image, none = torch.randn(1, 3, 6, 7), torch.zeros(0, dtype=torch.long)
    columns = torch.zeros(27, 0)
    _ext.masked_im2col_forward(image, none, none, columns, kernel_h=3, kernel_w=3, pad_h=1, pad_w=1)
    before = image.clone()
    _ext.masked_col2im_forward(torch.zeros(3, 0), none, none, image, height=6, width=7, channels=3)
    assert torch.equal(image, before)
