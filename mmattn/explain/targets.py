"""What is explained: words of the user become a scalar of the outputs, fixed for one image.

    class=NAME, pixel=X,Y, query=N, detection=N, region=x0,y0,x1,y1, side=left

of which several may be given. Places are in pixels of the image. The region, the class and the
number are fixed by the outputs of the unchanged image, before anything is differentiated:

==============  ==================================================================================
semantic        mean of the logit of a class over a region, at the size of the network's input
detection       ln(s / (1 - s)) of its score s: with a sigmoid the logit of the class, with a
                softmax that logit against the logsumexp of all others; or a side of its box, as a
                share of the input
mask query      probability of the class times the mean of the mask's probability within the mask
==============  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmattn.errors import ConfigError, DataError, did_you_mean

from .networks import Network, Outputs, Sample
from .target import SIDES, Target, box_iou

KINDS = ("class", "pixel", "query", "detection", "region", "side")


@dataclass(frozen=True)
class Wish:
    """What the user asked for; what was not said is None.

    Attributes:
        label: Index of a class.
        pixel: x and y in the image.
        query: Number of a query.
        detection: Number of a detection, the best is 0.
        region: x0, y0, x1, y1 in the image.
        side: Side or coordinate of a detection's box, a key of ``SIDES``, or ``-`` and one.
    """

    label: int | None = None
    pixel: tuple[float, float] | None = None
    query: int | None = None
    detection: int | None = None
    region: tuple[float, float, float, float] | None = None
    side: str = ""


def parse_target(words: Sequence[str], classes: Sequence[str]) -> Wish:
    """Read ``class=car region=10,20,200,300`` and the like.

    Raises:
        ConfigError: A word is of another form, twice there, or no class has the name.
    """
    given: dict[str, Any] = {}
    for word in words:
        kind, equals, text = word.partition("=")
        if not equals or kind not in KINDS:
            raise ConfigError(
                f"--target {word}: expected {', '.join(f'{k}=...' for k in KINDS)}."
                f"{did_you_mean(kind, KINDS)}"
            )
        if kind in given:
            raise ConfigError(f"--target: {kind}= is given twice")
        given[kind] = _value(kind, text, classes)
    several = [kind for kind in ("query", "detection") if kind in given]
    if len(several) > 1 or (several and {"pixel", "region"} & set(given)):
        raise ConfigError(
            f"--target: {several[0]}= names one thing, "
            f"{', '.join(k + '=' for k in given if k != several[0])} cannot be given with it"
        )
    if "class" in given:
        given["label"] = given.pop("class")
    return Wish(**given)


def _value(kind: str, text: str, classes: Sequence[str]) -> Any:
    if kind == "class":
        if text not in classes:
            raise ConfigError(
                f"--target class={text}: the model has no such class."
                f"{did_you_mean(text, classes)} It has {', '.join(classes)}"
            )
        return list(classes).index(text)
    if kind == "side":
        if text.removeprefix("-") not in SIDES:
            raise ConfigError(
                f"--target side={text}: expected one of {', '.join(SIDES)}, or - and one of them."
                f"{did_you_mean(text.lstrip('-'), SIDES)}"
            )
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if kind in ("query", "detection"):
        if len(numbers) == 1 and numbers[0] >= 0 and numbers[0] == int(numbers[0]):
            return int(numbers[0])
        raise ConfigError(f"--target {kind}={text}: expected a number from 0 on")
    count, form = (2, "X,Y") if kind == "pixel" else (4, "x0,y0,x1,y1")
    if len(numbers) != count:
        raise ConfigError(f"--target {kind}={text}: expected {form} in pixels of the image")
    if kind == "region" and not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise ConfigError(f"--target region={text}: x0 < x1 and y0 < y1 are needed")
    return tuple(numbers)


def choose_target(wish: Wish, network: Network, outputs: Outputs, sample: Sample) -> Target:
    """Fix what is explained: the wish, and what it leaves open by the outputs.

    The default is the largest class but for a background, the best detection, or the best mask.
    Where classes have no names, the first one counts as background, as most datasets have it.

    Raises:
        DataError: The image has no such thing; the message says what it has.
        ConfigError: The network has no such outputs.
    """
    if wish.query is not None and not network.has_mask_queries:
        raise ConfigError(
            f"--target query={wish.query}: {network.name} has no queries with masks; a detection "
            "of a DETR is detection=N"
        )
    if wish.detection is not None and network.kind != "boxes":
        raise ConfigError(f"--target detection={wish.detection}: {network.name} finds no boxes")
    if wish.side and network.kind != "boxes":
        raise ConfigError(f"--target side={wish.side}: {network.name} finds no boxes")
    if network.kind == "masks" or wish.query is not None:
        target = _query(wish, network, outputs, sample)
    elif network.kind == "boxes":
        target = _detection(wish, network, outputs, sample)
    else:
        target = _semantic(wish, network, outputs, sample)
    target.score = target.faithful_score(outputs)
    return target


def _semantic(wish: Wish, network: Network, outputs: Outputs, sample: Sample) -> Target:
    from mmattn.reports.painter import background_indices

    assert outputs.semantic is not None
    logits = outputs.semantic.detach()
    predicted = logits.argmax(0)
    inside = _content(sample, predicted)
    region, name = None, ""
    if wish.pixel is not None:
        x, y = _inside(wish.pixel, sample)
        region = torch.zeros_like(inside)
        region[int(y), int(x)] = True
        name = f" at ({wish.pixel[0]:g}, {wish.pixel[1]:g})"
    elif wish.region is not None:
        region = _box(wish.region, sample) & inside
        name = " in the region"
    label, chosen = wish.label, ""
    if label is None:
        counts = torch.bincount(predicted[inside if region is None else region].flatten())
        order = counts.argsort(descending=True, stable=True).tolist()
        order = [index for index in order if counts[index] > 0]
        background = background_indices(network.classes) if network.has_class_names else (0,)
        objects = [index for index in order if index not in background]
        label = (objects or order)[0]
        if region is None:
            chosen = _how_chosen(label, order, background, network)
    title = network.classes[label] + name
    if region is None:
        region = (predicted == label) & inside
        if not bool(region.any()):
            there = predicted[inside].unique().tolist()
            found = ", ".join(network.classes[index] for index in there)
            raise DataError(
                f"{sample.file}: class {network.classes[label]!r} is predicted nowhere, only "
                f"{found}; give region=x0,y0,x1,y1 to ask why it was missed there"
            )
    what = "score" if network.is_probability else "logit"
    count = int(region.sum())
    return Target(
        "semantic",
        label,
        title,
        f"mean {what} of {network.classes[label]!r} over {count} pixel{'s' * (count != 1)}",
        region,
        _centre(region),
        is_probability=network.is_probability,
        chosen=chosen,
    )


def _how_chosen(
    label: int, order: Sequence[int], background: Sequence[int], network: Network
) -> str:
    """Say why a class is taken, and how another one is.

    Args:
        label: The class.
        order: Classes that are predicted, the largest first.
        background: Classes that are none of objects.
        network: Whose classes they are.
    """
    but = ""
    skipped = [index for index in order[: order.index(label)] if index in background]
    if skipped:
        nameless = "" if network.has_class_names else ", taken for the background: no names known"
        but = f" but for {network.classes[skipped[0]]!r}{nameless}"
    others = [network.classes[index] for index in order if index != label]
    if not others:
        return "the only class here"
    few = ", ".join(map(repr, others[:3])) + (", ..." if len(others) > 3 else "")
    return f"the largest class here{but}; --target class=NAME takes another: {few}"


def _detection(wish: Wish, network: Network, outputs: Outputs, sample: Sample) -> Target:
    assert outputs.boxes is not None and outputs.scores is not None
    assert outputs.labels is not None
    boxes, labels = outputs.boxes.detach(), outputs.labels
    fits = torch.ones_like(labels, dtype=torch.bool)
    if wish.label is not None:
        fits &= labels == wish.label
    if wish.pixel is not None:
        x, y = _inside(wish.pixel, sample)
        fits &= (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
    candidates = fits.nonzero().flatten().tolist()
    if wish.region is not None and candidates:
        corners = [sample.placement.point_in_input(*wish.region[i : i + 2]) for i in (0, 2)]
        region = boxes.new_tensor([*corners[0], *corners[1]])
        iou = box_iou(boxes[candidates], region)
        candidates = [candidates[int(iou.argmax())]] if float(iou.max()) > 0 else []
    number = wish.detection or 0
    if number >= len(candidates):
        among = " of that class" if wish.label is not None else ""
        there = " there" if wish.pixel is not None or wish.region is not None else ""
        raise DataError(
            f"{sample.file}: {len(candidates)} detections{among}{there}, so there is no number "
            f"{number}; to see more, give a lower model.test_cfg.score_thr=SCORE"
        )
    index = candidates[number]
    label, score = int(labels[index]), float(outputs.scores[index].detach())
    box = tuple(boxes[index].tolist())
    region = _input_box(box, boxes, sample)
    name, formula = f"{network.classes[label]} {score:.2f}, detection {index}", ""
    if wish.side:
        minus, plain = "minus " * wish.side.startswith("-"), wish.side.removeprefix("-")
        name += f", {wish.side}"
        formula = f"{minus}{plain} of the box of {network.classes[label]!r}, share of the input"
    return Target(
        "detection",
        label,
        name,
        formula or f"logit of the score of {network.classes[label]!r}",
        region,
        ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
        box=box,
        index=index,
        side=wish.side,
        chosen=_best_of("detection", len(labels)) if wish == Wish() else "",
    )


def _best_of(what: str, count: int) -> str:
    """Say which of several is taken where none was asked for."""
    return f"the best of {count}; --target {what}=N takes another" if count > 1 else ""


def _query(wish: Wish, network: Network, outputs: Outputs, sample: Sample) -> Target:
    assert outputs.query_classes is not None and outputs.query_masks is not None
    classes = outputs.query_classes.detach().softmax(1)[:, :-1]
    masks = outputs.query_masks.detach()
    inside = masks > 0
    quality = (masks.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)
    scores = classes * quality[:, None]
    if wish.label is not None:
        only = torch.full_like(scores, -1.0)
        only[:, wish.label] = scores[:, wish.label]
        scores = only
    if wish.query is not None:
        if wish.query >= len(classes):
            raise DataError(f"--target query={wish.query}: there are {len(classes)} queries")
        index, label = wish.query, int(scores[wish.query].argmax())
    else:
        if wish.pixel is not None or wish.region is not None:
            where = _wished(wish, sample).to(masks)
            at = torch.nn.functional.adaptive_max_pool2d(where[None, None], masks.shape[1:])[0, 0]
            shared = (masks.sigmoid() * at).sum((1, 2)) / at.sum().clamp_min(1)
            scores = scores * shared[:, None]
        index, label = divmod(int(scores.argmax()), scores.shape[1])
    mask = inside[index]
    if not bool(mask.any()):
        raise DataError(f"{sample.file}: the mask of query {index} is empty")
    resized = torch.nn.functional.interpolate(
        masks[index][None, None], sample.placement.padded, mode="bilinear", align_corners=False
    )[0, 0]
    region = (resized > 0) & _content(sample, resized)
    if not bool(region.any()):
        region = resized > 0
    chance = float(classes[index, label])
    return Target(
        "query",
        label,
        f"{network.classes[label]} {chance:.2f}, query {index}",
        f"probability of {network.classes[label]!r} times the mean mask of query {index}",
        region if bool(region.any()) else torch.ones_like(region),
        _centre(region),
        index=index,
        mask=mask,
        chosen=_best_of("query", len(classes)) if wish == Wish() else "",
    )


def _wished(wish: Wish, sample: Sample) -> Tensor:
    if wish.region is not None:
        return _box(wish.region, sample)
    assert wish.pixel is not None
    x, y = _inside(wish.pixel, sample)
    region = torch.zeros(sample.placement.padded, dtype=torch.bool)
    region[int(y), int(x)] = True
    return region


def _inside(pixel: tuple[float, float], sample: Sample) -> tuple[float, float]:
    height, width = sample.placement.image
    if not (0 <= pixel[0] < width and 0 <= pixel[1] < height):
        raise DataError(
            f"--target pixel={pixel[0]:g},{pixel[1]:g}: {sample.file} has {width} columns and "
            f"{height} rows"
        )
    return sample.placement.point_in_input(pixel[0] + 0.5, pixel[1] + 0.5)


def _box(region: tuple[float, float, float, float], sample: Sample) -> Tensor:
    (x0, y0), (x1, y1) = (sample.placement.point_in_input(*region[i : i + 2]) for i in (0, 2))
    mask = torch.zeros(sample.placement.padded, dtype=torch.bool, device=sample.inputs.device)
    mask[max(int(y0), 0) : max(round(y1), int(y0) + 1), max(int(x0), 0) : round(x1)] = True
    if not bool(mask.any()):
        height, width = sample.placement.image
        raise DataError(
            f"--target region={','.join(f'{v:g}' for v in region)}: nothing of it lies in "
            f"{sample.file}, which has {width} columns and {height} rows"
        )
    return mask


def _input_box(box: Sequence[float], like: Tensor, sample: Sample) -> Tensor:
    height, width = sample.placement.padded
    mask = torch.zeros(height, width, dtype=torch.bool, device=like.device)
    y0, y1 = (min(max(round(v), 0), height) for v in (box[1], box[3]))
    x0, x1 = (min(max(round(v), 0), width) for v in (box[0], box[2]))
    mask[min(y0, height - 1) : max(y1, y0 + 1), min(x0, width - 1) : max(x1, x0 + 1)] = True
    return mask


def _content(sample: Sample, like: Tensor) -> Tensor:
    inside = torch.zeros(like.shape[-2:], dtype=torch.bool, device=like.device)
    inside[: sample.placement.content[0], : sample.placement.content[1]] = True
    return inside


def _centre(region: Tensor) -> tuple[float, float]:
    """Return the place of the region, x and y, nearest to its centre of mass."""
    places = region.nonzero().double().cpu()
    if not len(places):
        return region.shape[1] / 2, region.shape[0] / 2
    nearest = (places - places.mean(0)).square().sum(1).argmin()
    row, column = places[int(nearest)].tolist()
    return column + 0.5, row + 0.5
