"""Cost of a variant: parameters, operations, time, memory.

Times depend on the moment: a machine slows down when it is hot or busy. So the variants take turns,
one call each per round, in an order that rotates, and what disturbs one round disturbs them all.
The minimum is what the machine can do; the median is what to expect.

Memory is what torch's allocator had handed out at its highest, above the level before the call:
weights and, in training, gradients of an earlier step are not in it. On a GPU that is
``max_memory_allocated``; on a CPU it is summed from the allocator's own record, which is the same
in every run, where the peak of the process's memory would depend on what was freed before.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmattn.errors import ExportError
from mmattn.evaluation.bootstrap import bootstrap_values
from mmattn.training_memory import saved_for_backward

from .checks import Batch, network_call, training_loss


@dataclass
class Cost:
    """Cost of one variant.

    Attributes:
        parameters: Number of parameters.
        flops: Operations of one forward pass on one validation image, 2 per multiply-add; matrix
            products and convolutions are counted.
        latency: Seconds of a forward pass on one validation image, in each round.
        step: Seconds of forward and backward pass on a training batch, in each round.
        exported: Seconds of the exported file on one image of that size, in each round; empty if it
            was not measured.
        peak_inference, peak_training: Highest number of bytes allocated during these.
        saved: Bytes that the forward pass of training keeps for the backward pass.
    """

    parameters: int
    flops: int
    latency: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    exported: list[float] = field(default_factory=list)
    peak_inference: int = 0
    peak_training: int = 0
    saved: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    models: Mapping[str, nn.Module],
    train_batch: Batch,
    val_batch: Batch,
    *,
    rounds: int = 30,
    step_rounds: int = 9,
    device: str = "cpu",
) -> dict[str, Cost]:
    """Measure all ``models`` side by side.

    Args:
        models: Models by label.
        train_batch: Batch of the training dataloader.
        val_batch: Batch of one validation image.
        rounds: Number of rounds of a forward pass.
        step_rounds: Number of rounds of a training step.
        device: Device to measure on.
    """
    costs, forwards, steps = {}, {}, {}
    for label, model in models.items():
        model.to(device).eval()
        call = network_call(model, val_batch)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        costs[label] = Cost(sum(p.numel() for p in model.parameters()), counter.get_total_flops())
        forwards[label] = torch.no_grad()(call)
        steps[label] = _step(model, train_batch)
    for model in models.values():
        model.eval()
    for label, times in interleaved(forwards, rounds, device).items():
        costs[label].latency = times
    for label, cost in costs.items():
        cost.peak_inference = peak_bytes(forwards[label], device)
    for label, times in interleaved(steps, step_rounds, device, warm_up=1).items():
        costs[label].step = times
    for label, cost in costs.items():
        cost.peak_training = peak_bytes(steps[label], device)
        cost.saved = saved_bytes(models[label], train_batch)
    return costs


def measure_exported(
    models: Mapping[str, nn.Module], shape: tuple[int, int], *, rounds: int = 30
) -> tuple[dict[str, list[float]], str]:
    """Measure the ONNX files of all ``models`` side by side in onnxruntime, on the CPU.

    Args:
        models: Models by label, on the CPU.
        shape: Height and width of the image.
        rounds: Number of rounds.

    Returns:
        Seconds of each round by label, and what was measured in one sentence without a full stop.
        Nothing if a model cannot be exported or a package is missing: variants that are measured in
        unlike rounds cannot be compared.
    """
    from mmattn.export import OnnxSession, export_onnx

    image = np.random.default_rng(0).uniform(0, 255, (1, 3, *shape)).astype(np.float32)
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        calls: dict[str, Callable[[], Any]] = {}
        for number, (label, model) in enumerate(models.items()):
            file = Path(folder, f"{number}.onnx")
            try:
                export_onnx(model, file, shape=shape)
                session = OnnxSession(file, num_threads=threads)
            except ExportError as error:
                reason = " ".join(str(error).split())[:200]
                return {}, f"not measured, {label}: {reason}"
            calls[label] = partial(session, image)
        times = interleaved(calls, rounds)
    return times, f"{session.runtime}, {threads} threads, image {shape[0]} x {shape[1]}"


def step_ratio(
    step: Sequence[float], base_step: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    """Compute how many times as long a step takes as the base's, and the bootstrap interval.

    Args:
        step, base_step: Seconds of each round; rounds are pairs.
    """
    ratios = np.divide(step, base_step)
    return float(np.median(ratios)), bootstrap_values(ratios, np.median)


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int, device: str = "cpu", warm_up: int = 2
) -> dict[str, list[float]]:
    """Measure the seconds of each call in each round; rounds of warm-up are not counted."""
    times: dict[str, list[float]] = {label: [] for label in calls}
    labels = list(calls)
    for number in range(-warm_up, rounds):
        first = number % len(labels)
        for label in labels[first:] + labels[:first]:
            _wait(device)
            begin = time.perf_counter()
            calls[label]()
            _wait(device)
            if number >= 0:
                times[label].append(time.perf_counter() - begin)
    return times


def peak_bytes(call: Callable[[], Any], device: str = "cpu") -> int:
    """Measure the most bytes that torch's allocator handed out in ``call``, above those before."""
    if device != "cpu":
        _wait(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) - before
    # The profiler would print on every use that it found no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from torch._C._profiler import _EventType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    waiting = list(record.profiler.kineto_results.experimental_event_tree())
    changes = []
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        if event.tag == _EventType.Allocation:
            changes.append((event.start_time_ns, event.extra_fields.alloc_size))
    level = highest = 0
    # Frees of what was there before are not in the record.
    for _, change in sorted(changes, key=lambda entry: entry[0]):
        level += change
        highest = max(highest, level)
    return highest


def saved_bytes(model: nn.Module, batch: Batch) -> int:
    """Count the bytes that a training step keeps for its backward pass, each storage once.

    Parameters and buffers are not counted: they are there anyway.
    """
    with torch.random.fork_rng():
        owners = {"model": (*model.parameters(), *model.buffers())}
        return saved_for_backward(lambda: training_loss(model, batch), owners)["other"]


def _step(model: nn.Module, batch: Batch) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        training_loss(model, batch).backward()

    return step


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)
