"""mmcv's own SyncBN is batch norm where there is one process."""

from __future__ import annotations

import pytest
import torch
from torch import nn


def layer(**options) -> nn.Module:
    from mmcv.ops import SyncBatchNorm

    return SyncBatchNorm(6, **options)


@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"track_running_stats": False}, {"eps": 0.1}]
)
def test_alone_it_is_batch_norm(options: dict) -> None:
    ours, truth = layer(**options), nn.BatchNorm2d(6, **options)
    truth.load_state_dict(ours.state_dict())
    for _ in range(2):
        images = torch.randn(3, 6, 5, 4)
        torch.testing.assert_close(ours(images), truth(images))
    ours.eval()
    truth.eval()
    torch.testing.assert_close(ours(images), truth(images))
    for name, value in truth.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_it_takes_no_image_at_all() -> None:
    """What mmdet's heads have it for: a batch without a proposal."""
    assert layer().train()(torch.empty(0, 6, 7, 7)).shape == (0, 6, 7, 7)


def test_a_model_for_inference_has_plain_batch_norms() -> None:
    from mmengine.model import revert_sync_batchnorm

    reverted = revert_sync_batchnorm(nn.Sequential(layer()))
    assert isinstance(reverted[0], nn.modules.batchnorm._BatchNorm)


def test_in_a_group_it_is_synchronised(tmp_path) -> None:
    """Its group is the real one, whose operators mmcv's extension has to bring."""
    import torch.distributed as dist

    from mmattn.errors import MissingOpError

    dist.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        in_group = layer()
        assert in_group.group is not None
        assert in_group.group_size == 1
        with pytest.raises(MissingOpError, match="SyncBN"):
            in_group(torch.randn(2, 6, 3, 3))
    finally:
        dist.destroy_process_group()
