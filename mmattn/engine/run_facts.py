"""What a run knows about itself: its data, model, schedule and machine, for its report."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.complexity import complexity_in_test
from mmattn.environment import collect_env
from mmattn.errors import DataError
from mmattn.images import evenly, read_header
from mmattn.inference.model import unwrap_model
from mmattn.tasks import task_of

from .schedule_rows import images_at_a_time

if TYPE_CHECKING:
    from mmengine.runner import Runner
    from torch import nn

    from mmattn.preflight.data import DatasetReport

#: Images whose objects are measured, and whose headers are read, spread evenly.
_OBJECTS_OF, _HEADERS_OF = 2000, 200
_OBJECT_EDGES = (0, 8, 16, 32, 64, 128, 256, 512)
_IMAGE_EDGES = (0, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096)


def run_facts(runner: Runner, kind: str, reports: Sequence[DatasetReport]) -> dict[str, Any]:
    """Collect what is known before the first step; nothing is run, few files are read.

    Args:
        runner: Runner of the run.
        kind: ``train`` or ``test``.
        reports: What the checks found of its datasets.

    Returns:
        Plain data, see ``mmattn.reports.runs.facts``.
    """
    task = task_of(runner.cfg)
    return {
        "kind": kind,
        "config": runner.cfg.filename,
        "task": task.name,
        "metric": task.default_metric,
        "validation_axis": _validation_axis(runner),
        "model": model_facts(unwrap_model(runner)),
        "data": data_facts(runner, reports, ("train", "val") if kind == "train" else ("test",)),
        "environment": collect_env(),
        "start": _start(runner, kind),
        "checkpoint": str(runner._load_from) if runner._load_from else None,
    }


def model_facts(model: nn.Module) -> dict[str, Any]:
    """Count the parameters of a model and of its parts."""
    parts = [
        {"name": name, "type": type(part).__name__, **_parameters(part)}
        for name, part in model.named_children()
        if next(part.parameters(), None) is not None
    ]
    return {"type": type(model).__name__, "parts": parts, **_parameters(model)}


def operations(runner: Runner) -> dict[str, Any]:
    """Count the operations of the test of the first validation image.

    Returns:
        ``flops`` and ``input_shape``, or ``flops_missing`` with the reason.
    """
    import torch

    if runner.val_loop is None:
        return {"flops_missing": "there is no validation image"}
    try:
        with torch.random.fork_rng():
            sample = runner.val_dataloader.dataset[0]
            _, flops, size = complexity_in_test(unwrap_model(runner), sample)
    except Exception as error:  # whatever a network of somebody else's needs besides
        return {"flops_missing": f"{type(error).__name__}: {error}"}
    return {"flops": flops, "input_shape": size}


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has had; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def data_facts(
    runner: Runner, reports: Sequence[DatasetReport], splits: Iterable[str]
) -> list[dict[str, Any]]:
    """Describe the datasets of a run.

    Args:
        runner: The run.
        reports: What the checks found; a dataset of which they found nothing has its name only.
        splits: Splits that are used.
    """
    found = []
    for split in splits:
        if split == "val" and runner.val_loop is None:
            continue
        datasets = list(_leaves(getattr(runner, f"{split}_dataloader").dataset))
        checked = [one for one in reports if one.where.startswith(f"{split}_dataloader")]
        for place, dataset in enumerate(datasets):
            entry = {"split": split, "type": type(dataset).__name__, "images": len(dataset)}
            entry["histograms"] = histograms(dataset)
            if len(checked) == len(datasets):
                entry |= _checked(checked[place])
            found.append(entry)
    return found


def _checked(report: DatasetReport) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "root": report.root,
        "notes": list(report.notes),
        "counts": dict(report.counts),
        "unit": report.unit,
        "looked_at": dict(report.looked_at),
    }
    if report.files:
        entry["fingerprint"] = fingerprint(report.files, report.root)
    return entry


def fingerprint(files: Sequence[str], root: str) -> dict[str, Any]:
    """Return number, bytes and a digest of names and sizes of files; no file is read."""
    digest, total = hashlib.sha256(), 0
    names = sorted(
        (os.path.relpath(file, root or ".").replace(os.sep, "/"), file) for file in files
    )
    for name, file in names:
        size = os.path.getsize(file) if os.path.exists(file) else 0
        total += size
        digest.update(f"{name}\0{size}\n".encode())
    return {"files": len(names), "bytes": total, "sha256": digest.hexdigest()}


def histograms(dataset: Any) -> list[dict[str, Any]]:
    """Count the sizes of a dataset's images, and of its objects where it has boxes."""
    count = len(dataset)
    if not hasattr(dataset, "get_data_info"):
        return []
    sides, roots = [], []
    looked = evenly(count, _OBJECTS_OF)
    with_objects = False
    headers = set(evenly(count, _HEADERS_OF).tolist())
    for index in looked.tolist():
        info = dataset.get_data_info(index)
        if isinstance(info.get("height"), int) and isinstance(info.get("width"), int):
            sides.append(max(info["height"], info["width"]))
        elif index in headers and isinstance(info.get("img_path"), str):
            sides += _header_side(info["img_path"])
        elif not info.get("instances") and index not in headers:
            continue
        for one in info.get("instances") or ():
            if "bbox" in one:
                with_objects = True
                x0, y0, x1, y1 = one["bbox"]
                roots.append(float(np.sqrt(max(x1 - x0, 0) * max(y1 - y0, 0))))
    note = f"Of {len(looked)} of {count} images." if len(looked) < count else ""
    found = [_histogram("images by their longer side, pixels", sides, _IMAGE_EDGES, "")]
    if with_objects:
        title = "objects by the square root of the box's area, pixels"
        found.append(_histogram(title, roots, _OBJECT_EDGES, note))
    return [one for one in found if one["bins"]]


def _header_side(path: str) -> list[int]:
    try:
        return [max(read_header(path).size)]
    except (DataError, OSError):
        return []


def _histogram(
    title: str, values: Sequence[float], edges: Sequence[int], note: str
) -> dict[str, Any]:
    counts = np.histogram(values, [*edges, np.inf])[0].tolist() if values else []
    names = [
        f"{low} to {edges[place + 1]}" if place + 1 < len(edges) else f"{low} and more"
        for place, low in enumerate(edges)
    ]
    used = [place for place, n in enumerate(counts) if n]
    span = range(used[0], used[-1] + 1) if used else ()
    return {"title": title, "bins": {names[i]: counts[i] for i in span}, "note": note}


def _leaves(dataset: Any) -> Iterable[Any]:
    if hasattr(dataset, "datasets"):
        for one in dataset.datasets:
            yield from _leaves(one)
    elif hasattr(dataset, "dataset"):
        yield from _leaves(dataset.dataset)
    else:
        yield dataset


def _parameters(module: nn.Module) -> Mapping[str, int]:
    values = list(module.parameters())
    return {
        "parameters": sum(p.numel() for p in values),
        "trained": sum(p.numel() for p in values if p.requires_grad),
    }


def _validation_axis(runner: Runner) -> str:
    from mmengine.hooks import LoggerHook

    by_epoch = any(
        hook.log_metric_by_epoch for hook in runner.hooks if isinstance(hook, LoggerHook)
    )
    return "epoch" if by_epoch else "iteration"


def _start(runner: Runner, kind: str) -> dict[str, Any]:
    import torch

    device = next((p.device for p in unwrap_model(runner).parameters()), torch.device("cpu"))
    start: dict[str, Any] = {
        "seed": runner.seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": runner.world_size,
    }
    if kind == "train":
        start |= {
            "images_at_a_time": images_at_a_time(runner),
            "optimizer": type(getattr(runner.optim_wrapper, "optimizer", None)).__name__,
            "steps": runner.max_iters,
            "epochs": runner.max_epochs if runner.max_epochs > 1 else None,
            "begun_at_step": runner.iter or None,
        }
    return start
