"""Cost of whole models and exported files, side by side: parameters, operations, time, memory.

The contenders take turns in one process, one call each per round, as in ``variant_cost.py``: what
disturbs one disturbs them all. A call goes from images, (N, 3, H, W), to the results of a test: the
normalisation, the network, and what follows it, such as NMS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.errors import ConfigError
from mmattn.evaluation.bootstrap import bootstrap_values

from .variant_cost import interleaved, peak_bytes

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

#: Endings of exported files.
EXPORTED = (".onnx", ".xml")


@dataclass(frozen=True)
class Contender:
    """Something that is measured.

    Attributes:
        name: Its name in the table.
        call: One pass over the batch.
        parameters: Number of parameters; None for an exported file.
        flops: Operations for one image, 2 per multiply-add; None for an exported file.
        runtime: What computes it.
        in_torch: Whether torch's allocator sees its memory.
    """

    name: str
    call: Callable[[], Any]
    parameters: int | None
    flops: int | None
    runtime: str
    in_torch: bool


@dataclass(frozen=True)
class Measurement:
    """Figures measured of a contender.

    Attributes:
        name, runtime, parameters, flops: Those of the contender.
        seconds: Median time of one call, for the whole batch.
        interval: Interval of the median, 95%, by bootstrap.
        images_per_second: Images of the batch divided by ``seconds``.
        peak_memory: Most bytes that torch's allocator had handed out in a call, above those
            before; None for an exported file.
        rounds: Seconds of each round.
    """

    name: str
    runtime: str
    parameters: int | None
    flops: int | None
    seconds: float
    interval: tuple[float, float]
    images_per_second: float
    peak_memory: int | None
    rounds: list[float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def model_contender(
    name: str,
    cfg: Config,
    checkpoint: str | None,
    *,
    size: tuple[int, int],
    batch: int = 1,
    device: str = "cpu",
    fuse: bool = True,
) -> Contender:
    """Build the model of a config.

    Args:
        name: Name in the table.
        cfg: Whole config.
        checkpoint: File of its weights; None for random ones, with which time that depends on what
            is found, such as that of NMS, is another.
        size: Height and width of the images.
        batch: Images at a time.
        device: Device of the model.
        fuse: Measure the fused model where the network has one; parameters and operations are those
            of the model as it is trained.
    """
    import torch

    from mmattn.inference.model import build_model
    from mmattn.layers.fuse import fuse as fuse_model

    torch.manual_seed(0)
    model = build_model(cfg, checkpoint, device)
    parameters = sum(p.numel() for p in model.parameters())
    flops = _operations(_test_call(model, size, 1))
    model = fuse_model(model) if fuse else model
    runtime = f"torch {torch.__version__}, {device}"
    return Contender(name, _test_call(model, size, batch), parameters, flops, runtime, True)


def file_contender(
    file: str, *, size: tuple[int, int] | None, batch: int = 1, threads: int = 0
) -> Contender:
    """Open an exported file.

    Args:
        file: ``.onnx`` or ``.xml``, written by ``mmattn export``.
        size: Height and width of the images.
        batch: Images at a time.
        threads: Threads of the runtime; 0 leaves the choice to it.

    Raises:
        ConfigError: The file takes images of another size alone.
        ExportError: The runtime is missing or refuses the file.
    """
    from mmattn.export.session import open_session

    session = open_session(file, num_threads=threads)
    traced = tuple(session.metadata.shape)
    if not session.metadata.dynamic and (size != traced or batch != 1):
        raise ConfigError(
            f"{file} takes one image of {traced[0]} x {traced[1]} at a time: give --size "
            f"{traced[0]} {traced[1]} and --batch 1, or export it with --dynamic."
        )
    images = _pixels(size or traced, batch).astype(np.float32)
    return Contender(Path(file).name, partial(session, images), None, None, session.runtime, False)


def measure_contenders(
    contenders: Sequence[Contender], *, batch: int = 1, rounds: int = 30, device: str = "cpu"
) -> list[Measurement]:
    """Measure all of them in turns.

    Args:
        contenders: What to measure; names are made unlike by numbers.
        batch: Images of each call.
        rounds: Calls of each that are counted, after two that are not.
        device: Device to wait for.
    """
    import torch

    calls = {str(number): one.call for number, one in enumerate(contenders)}
    with torch.no_grad():
        times = interleaved(calls, rounds, device)
        measured = []
        for number, one in enumerate(contenders):
            seconds = times[str(number)]
            median = float(np.median(seconds))
            measured.append(
                Measurement(
                    name=one.name,
                    runtime=one.runtime,
                    parameters=one.parameters,
                    flops=one.flops,
                    seconds=median,
                    interval=bootstrap_values(seconds, np.median),
                    images_per_second=batch / median,
                    peak_memory=peak_bytes(one.call, device) if one.in_torch else None,
                    rounds=seconds,
                )
            )
    return measured


def _pixels(size: tuple[int, int], batch: int) -> np.ndarray:
    """Return noise as images, (N, 3, H, W) uint8."""
    return np.random.default_rng(0).integers(0, 256, (batch, 3, *size), dtype=np.uint8)


def _test_call(model: nn.Module, size: tuple[int, int], batch: int) -> Callable[[], Any]:
    """Return a call of ``test_step`` on images of ``size``, which keep it in the results."""
    import torch
    from mmengine.structures import BaseDataElement

    meta = {
        "img_shape": size,
        "ori_shape": size,
        "pad_shape": size,
        "scale_factor": (1.0, 1.0),
        "flip": False,
    }
    images = [torch.from_numpy(image) for image in _pixels(size, batch)]
    sample_type = _sample_type(model) or BaseDataElement

    def call() -> Any:
        # The model writes into the samples.
        samples = [sample_type(metainfo=dict(meta)) for _ in images]
        with torch.no_grad():
            return model.test_step({"inputs": list(images), "data_samples": samples})

    return call


def _sample_type(model: nn.Module) -> Any:
    """Return the class of samples that a model of mmdet or mmseg works on."""
    package = next(
        (cls.__module__.partition(".")[0] for cls in type(model).__mro__
         if cls.__module__.startswith(("mmdet.", "mmseg."))),
        "",
    )  # fmt: skip
    if package == "mmseg":
        from mmseg.structures import SegDataSample

        return SegDataSample
    if package == "mmdet":
        from mmdet.structures import DetDataSample

        return DetDataSample
    return None


def _operations(call: Callable[[], Any]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
