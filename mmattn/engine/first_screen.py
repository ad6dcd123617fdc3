"""The summary of a run that stands above its first step, line by line."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.class_counts import counts_in
from mmattn.inference.model import unwrap_model
from mmattn.io.class_rows import RowsReport

from .exactness import exactness
from .schedule_rows import images_at_a_time, learning_rate_rows, pipeline_rows
from .sharding.model import FullyShardedModel
from .tracking import tracking_rows

if TYPE_CHECKING:
    from mmengine.runner import Runner
    from torch import nn
    from torch.utils.data import DataLoader

_LABEL, _WIDTH = 10, 98
#: Lines of a screen, above which what takes two lines is cut to one.
_MOST = 20
#: Rows that are a path, which is never broken: it is clicked and copied.
_PATHS = ("config", "weights", "run", "log")
#: Children of a model that are not parts of the network.
_NOT_PARTS = ("data_preprocessor",)


def training_screen(runner: Runner, manifest: str = "", hidden: int = 0) -> list[str]:
    """Describe a training that is about to begin; lines are at most 98 characters, but for paths.

    Args:
        runner: Runner of the training.
        manifest: What a comparison of the data with a manifest has found.
        hidden: Number of warnings that are in the log alone.
    """
    splits = [("train", runner.train_dataloader)]
    if runner.val_loop is not None:
        splits.append(("val", runner.val_dataloader))
    rows = [
        *_rows("config", [str(runner.cfg.filename or "given as an object")]),
        *_rows("data", [*_data(splits), *_classes(runner.train_dataloader.dataset)]),
        *_rows("manifest", [manifest] if manifest else []),
        *_rows("model", [_network(runner), f"{_size(runner)}; {_start(runner)}"]),
        *_rows("classes", [*_counts(runner), *_kept_rows(runner)]),
        *_rows("schedule", [_length(runner), _optimizer(runner)]),
        *_rows("", [*learning_rate_rows(runner), *pipeline_rows(runner)]),
        *_rows("saved", [_checkpoints(runner)]),
        *_rows("resume", [exactness(runner)]),
        *_rows("warnings", [f"{hidden} more are in the log"] if hidden else []),
        *_rows("tracking", tracking_rows(runner)),
        *_places(runner),
    ]
    return _fitted(_title(runner), rows)


def test_screen(runner: Runner, manifest: str = "") -> list[str]:
    """Describe a test that is about to begin, as ``training_screen`` does a training."""
    loader = runner.test_dataloader
    rows = [
        *_rows("config", [str(runner.cfg.filename or "given as an object")]),
        *_rows("data", [*_data([("test", loader)]), *_other_split(runner)]),
        *_rows("", _classes(loader.dataset)),
        *_rows("manifest", [manifest] if manifest else []),
        *_rows("model", [_network(runner), _size(runner)]),
        *_rows("tracking", tracking_rows(runner)),
        *_rows("weights", [str(runner._load_from or "random: no checkpoint was given")]),
        *_places(runner),
    ]
    return _fitted(_title(runner), rows)


test_screen.__test__ = False  # pytest: no test


def _rows(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each line with its label, which stands before the first of them alone."""
    for line in lines:
        yield label, line
        label = ""


def _fitted(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return the screen; a long list takes two lines, or one where there are many."""
    for lines_of_a_row in (2, 1):
        screen = [title]
        for label, line in rows:
            cut = [line] if label in _PATHS else _wrapped(line, lines_of_a_row)
            for number, part in enumerate(cut or [""]):
                screen.append(f"{label if number == 0 else '':<{_LABEL}}{part}")
        if len(screen) <= _MOST:
            break
    return screen


def _wrapped(line: str, most: int) -> list[str]:
    """Break a line between words, cut after so many lines; a path in it stays whole."""
    width = _WIDTH - _LABEL
    long_word = any(len(word) > width for word in line.split())
    return textwrap.wrap(
        line,
        width,
        max_lines=None if long_word else most,
        placeholder=" ...",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _title(runner: Runner) -> str:
    import torch

    import mmattn

    threads = torch.get_num_threads()
    device = next((p.device for p in unwrap_model(runner).parameters()), torch.device("cpu"))
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        where = f"{device.type.upper()}, {threads} thread{'s' * (threads != 1)}"
    if runner.world_size > 1:
        where += f", {runner.world_size} processes"
    versions = f"mmattn {mmattn.__version__}, torch {torch.__version__}"
    return f"{versions}, {where}, seed {runner.seed}"


def _data(splits: Sequence[tuple[str, DataLoader]]) -> Iterator[str]:
    for name, loader in splits:
        dataset = loader.dataset
        inner = dataset
        while hasattr(inner, "dataset"):  # RepeatDataset and its like
            inner = inner.dataset
        place = getattr(inner, "data_root", None) or getattr(inner, "ann_file", None) or ""
        place = f" in {place}" if place else ""
        if summary := getattr(inner, "summary", None):  # a folder whose layout was recognised
            if len(inner) != len(inner.records.images):
                split, _, rest = summary.partition(": ")
                summary = f"{split}: {len(inner)} of {rest}"
            yield f"{summary}, of {inner.data_root}"
            continue
        images = f"{len(dataset)} image{'s' * (len(dataset) != 1)}"
        yield f"{name:<5} {images}, {type(inner).__name__}{place}"


def _other_split(runner: Runner) -> Iterator[str]:
    """Yield a line where the images of a test are those of another split."""
    dataset = (runner.cfg.get("test_dataloader") or {}).get("dataset") or {}
    split = dataset.get("split")
    if isinstance(split, str) and split not in ("test", "all"):
        chosen = ", by which the best checkpoint is chosen" if split == "val" else ""
        yield f"these are the images of {split}{chosen}"


def _classes(dataset: Any) -> list[str]:
    names = (getattr(dataset, "metainfo", None) or {}).get("classes") or ()
    if not names or isinstance(names, str):
        return []
    return [f"{len(names)} class{'es' * (len(names) != 1)}: {', '.join(map(str, names))}"]


def _counts(runner: Runner) -> list[str]:
    """Return which heads count the classes, and which metrics compare, where the data was put in.

    A folder that takes the place of a config's own data changes them.
    """
    inner = runner.train_dataloader.dataset
    while hasattr(inner, "dataset"):
        inner = inner.dataset
    if not hasattr(inner, "summary"):
        return []
    heads = [f"{path.removeprefix('model.')}={value}" for path, value in counts_in(runner.cfg)]
    metrics = runner.val_loop.evaluator.metrics if runner.val_loop is not None else ()
    names = dict.fromkeys(type(metric).__name__ for metric in metrics)
    compared = f"; compared by {', '.join(names)}" if names else ""
    return [f"{', '.join(heads) or 'no head counts them'}{compared}"]


def _kept_rows(runner: Runner) -> list[str]:
    """Return which classes start from the rows of a checkpoint, where names told."""
    reports = (getattr(hook, "report", None) for hook in runner.hooks)
    return [str(report) for report in reports if isinstance(report, RowsReport)]


def _network(runner: Runner) -> str:
    model = unwrap_model(runner)
    parts = [
        _name(module)
        for name, module in model.named_children()
        if name not in _NOT_PARTS and next(module.parameters(), None) is not None
    ]
    return f"{type(model).__name__}: {', '.join(parts)}" if parts else type(model).__name__


def _name(module: nn.Module) -> str:
    depth = getattr(module, "depth", None)
    name = type(module).__name__
    if name in ("ModuleList", "Sequential"):
        return " + ".join(dict.fromkeys(type(child).__name__ for child in module.children()))
    return f"{name}-{depth}" if isinstance(depth, int) else name


def _size(runner: Runner) -> str:
    parameters = list(unwrap_model(runner).parameters())
    every = sum(p.numel() for p in parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    frozen = "" if trained == every else f", {_count(every - trained)} of them frozen"
    sharded = isinstance(runner.model, FullyShardedModel)
    shared = f", shared out among {runner.world_size} processes" if sharded else ""
    return f"{_count(every)} parameters{frozen}{shared}"


def _count(number: int) -> str:
    for unit, value in (("M", 1e6), ("k", 1e3)):
        if number >= value:
            return f"{number / value:.3g} {unit}"
    return str(number)


def _start(runner: Runner) -> str:
    if runner._load_from and runner.iter:
        return f"goes on from {runner._load_from}, iteration {runner.iter}"
    if runner.iter:
        return f"goes on from iteration {runner.iter}"
    if runner._load_from:
        return f"starts from {runner._load_from}"
    pretrained = [
        f"{name} {init['checkpoint']}"
        for name, module in unwrap_model(runner).named_children()
        for init in _as_list(getattr(module, "init_cfg", None))
        if init.get("type") == "Pretrained" and init.get("checkpoint")
    ]
    if pretrained:
        return f"weights of {', '.join(pretrained)}"
    return "starts from random weights"


def _as_list(init: Any) -> list[dict]:
    found = init if isinstance(init, (list, tuple)) else [init]
    return [one for one in found if isinstance(one, dict)]


def _length(runner: Runner) -> str:
    loader, batch = runner.train_dataloader, images_at_a_time(runner)
    by_epoch = runner.max_epochs > 1 or "Epoch" in type(runner.train_loop).__name__
    if by_epoch:
        total = f"{runner.max_epochs} epochs of {len(loader)} iterations"
        unit = "epoch"
    else:
        passes = runner.max_iters * batch / max(1, len(loader.dataset))
        total = f"{runner.max_iters} iterations ({passes:.3g} passes over the images)"
        unit = "iteration"
    images = f"{batch} image{'s' * (batch != 1)} at a time"
    every = getattr(runner.train_loop, "val_interval", math.inf)
    if runner.val_loop is None:
        return f"{total}, {images}, no validation"
    length = runner.max_epochs if by_epoch else runner.max_iters
    often = "at the end" if every >= length else f"every {_every(every, unit)}"
    return f"{total}, {images}, validation {often}"


def _every(interval: float, unit: str) -> str:
    return unit if interval == 1 else f"{interval:g} {unit}s"


def _optimizer(runner: Runner) -> str:
    wrapper = runner.optim_wrapper
    optimizer = getattr(wrapper, "optimizer", None)
    if optimizer is None:  # one for each part of the model
        return type(wrapper).__name__
    rates = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    rate = (
        f"{max(rates):.3g}" if min(rates) == max(rates) else f"{min(rates):.3g} to {max(rates):.3g}"
    )
    schedulers = runner.param_schedulers or []
    named = schedulers if isinstance(schedulers, list) else []
    names = dict.fromkeys(type(scheduler).__name__ for scheduler in named)
    amp = ", mixed precision" if "Amp" in type(wrapper).__name__ else ""
    return ", ".join([type(optimizer).__name__, f"learning rate {rate}", *names]) + amp


def _checkpoints(runner: Runner) -> str:
    from mmengine.hooks import CheckpointHook

    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    if hook is None:
        return "no checkpoints: the config has switched them off"
    parts = []
    if hook.interval > 0:
        unit = "epoch" if hook.by_epoch else "iteration"
        length = runner.max_epochs if hook.by_epoch else runner.max_iters
        often = "at the end" if hook.interval >= length else f"every {_every(hook.interval, unit)}"
        parts.append(f"a checkpoint {often}")
        if hook.max_keep_ckpts > 0:
            kept = hook.max_keep_ckpts
            parts.append("only the newest kept" if kept == 1 else f"the newest {kept} kept")
    if hook.save_best:
        parts.append("the best by " + ", ".join(map(str, hook.key_indicators)))
    return ", ".join(parts) or "a checkpoint at the end"


def _places(runner: Runner) -> Iterator[tuple[str, str]]:
    yield from _rows("run", [str(runner.work_dir)])
    log = Path(runner.log_dir) / f"{runner.timestamp}.log"
    yield from _rows("log", [f"{log}", "holds the whole config, the environment and all messages"])
