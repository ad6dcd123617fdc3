"""The same target in a second network, such as the host of a block and the host with it."""

from __future__ import annotations

import torch

from .networks import Network, Outputs, Sample
from .target import Target, box_iou
from .targets import Wish, choose_target

#: Least overlap of boxes and masks that count as the same object.
LEAST_IOU = 0.3


def matching_target(
    target: Target, of: Sample, network: Network, outputs: Outputs, sample: Sample
) -> Target | None:
    """Return the target of another network that is most like the one given, None without any.

    Semantic: the same class, by its name's index, over the same region. Detections: the box of the
    class with the largest overlap. Queries: the query of the class whose mask overlaps most.

    Args:
        target: What the first network's explanation is of.
        of: Image as the first network has it.
        network: Second network.
        outputs: Its outputs.
        sample: The same image as the second network has it.
    """
    x, y = of.placement.point_in_image(*target.point)
    if target.kind == "semantic" and network.kind == "semantic":
        region = target.region
        if tuple(region.shape) != sample.placement.padded:
            scaled = region[None, None].float()
            scaled = torch.nn.functional.interpolate(scaled, sample.placement.padded)
            region = scaled[0, 0] > 0.5
        wish = Wish(label=target.label, pixel=(int(x), int(y)))
        found = choose_target(wish, network, outputs, sample)
        found.region, found.name, found.formula = region, target.name, target.formula
        found.score = found.faithful_score(outputs)
        return found
    if target.kind == "detection" and network.kind == "boxes":
        return _same_box(target, of, network, outputs, sample)
    if target.kind == "query" and network.has_mask_queries:
        wish = Wish(label=target.label, pixel=(int(x), int(y)))
        return choose_target(wish, network, outputs, sample)
    return None


def _same_box(
    target: Target, of: Sample, network: Network, outputs: Outputs, sample: Sample
) -> Target | None:
    assert target.box is not None and outputs.boxes is not None and outputs.labels is not None
    box = of.placement.box_in_image(target.box)
    corners = [sample.placement.point_in_input(*box[index : index + 2]) for index in (0, 2)]
    iou = box_iou(outputs.boxes, outputs.boxes.new_tensor([*corners[0], *corners[1]]))
    iou = torch.where(outputs.labels == target.label, iou, 0.0)
    if not len(iou) or float(iou.max()) < LEAST_IOU:
        return None
    wish = Wish(detection=int(iou.argmax()), side=target.side)
    return choose_target(wish, network, outputs, sample)
