"""Test-time augmentation of a segmentor, with the sum over the copies in memory, not the copies.

    p[c] = sum over the copies k of softmax_c(logits_k) / number of copies,  label = argmax_c p[c]

mmseg's ``SegTTAModel`` predicts all copies before it merges them, and each brings the logits of all
classes at the size of the file: twelve for six scales and a flip. Here each is added up as soon as
it is there, in the same order, so the labels are equal and memory does not depend on their number.

A head with one channel hands over probabilities already: p = sum of them / number of copies, and a
pixel is foreground where that is above the head's threshold. mmseg's takes their sigmoid once more,
which is at least 1/2: with a threshold below that, such as its default of 0.3, all is foreground.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel as _SegTTAModel
from mmseg.structures import SegDataSample
from torch import Tensor

from mmattn.registry import MODELS


@MODELS.register_module()
class SegTTAModel(_SegTTAModel):
    """Drop-in for ``mmseg.SegTTAModel``: the same labels for several channels, right ones for one.

    Args:
        module: Segmentor whose results have ``seg_logits`` (those of ``mmattn.EncoderDecoder`` do
            with ``test_cfg.keep_logits=True``, which ``mmattn test --tta`` sets).
    """

    def test_step(self, data: dict | list | tuple) -> list[SegDataSample]:
        """Predict all copies of the images of a batch, and merge them.

        Args:
            data: Batch of ``TestTimeAug`` and the dataloader: for each key, or in each part, one
                entry for each copy.

        Returns:
            For each image the sample of its last copy, as upstream, with the merged
            ``pred_sem_seg``, (1, height, width), and the ground truth of the first copy.
        """
        copies = _copies(data)
        sums: list[Tensor] = []
        first: list[SegDataSample] = []
        samples: list[SegDataSample] = []
        for copy in copies:
            for sample in samples:
                del sample.seg_logits  # those of the copy before
            samples = self.module.test_step(copy)
            first = first or samples
            sums = sums or [torch.zeros_like(sample.seg_logits.data) for sample in samples]
            for total, sample in zip(sums, samples, strict=True):
                total += self._probabilities(sample.seg_logits.data)
        for total, sample, original in zip(sums, samples, first, strict=True):
            total /= len(copies)
            if self.module.out_channels == 1:
                label = (total > self.module.decode_head.threshold).to(total)
            else:
                label = total.argmax(dim=0, keepdim=True)
            sample.set_data({"pred_sem_seg": PixelData(data=label)})
            if "gt_sem_seg" in original:
                sample.set_data({"gt_sem_seg": original.gt_sem_seg})
            sample.set_metainfo({"img_path": original.img_path})
        return samples

    def _probabilities(self, logits: Tensor) -> Tensor:
        # ``postprocess_result`` has taken the sigmoid of a single channel.
        return logits.softmax(dim=0) if self.module.out_channels > 1 else logits


def _copies(data: Any) -> list:
    """Split a batch into one batch for each copy."""
    if isinstance(data, dict):
        count = len(next(iter(data.values())))
        return [{key: value[index] for key, value in data.items()} for index in range(count)]
    return [[part[index] for part in data] for index in range(len(data[0]))]
