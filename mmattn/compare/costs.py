"""Costs of all variants of a comparison, measured in a process of its own.

What a training step of every variant once took stays with the process that took it, gigabytes that
the trainings would then lack; a process that ends gives them back. It is one for all variants, not
one for each: they take turns round by round, so that what slows the machine down slows them all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn import errors
from mmattn.errors import MMAttnError, one_line
from mmattn.io import read_checkpoint
from mmattn.quiet import output_to

from .checks import build_datasets, collate_first
from .files import write_json
from .shared_config import samples_per_step
from .train_variant import CONSOLE
from .variants import BASE

if TYPE_CHECKING:
    from torch import nn

Log = Callable[[str], None]
#: Files of a measurement: what is measured, and what came out; both are removed afterwards.
_JOB, _RESULT = "costs_job.json", "costs_result.json"
_SHOWN_LINES = 12


class UnbuiltError(Exception):
    """Raised where the data or a variant cannot be built; the text is that of the error."""


@dataclass(frozen=True)
class CostJob:
    """What a process needs to know.

    Attributes:
        base: Config file of the network without a block, with its data.
        configs: Label -> config file of each variant.
        weights: Label -> file of its initial weights.
        device: Device that models are measured on; exported files are on the CPU.
        threads: Threads of torch and of exported files.
    """

    base: str
    configs: Mapping[str, str]
    weights: Mapping[str, str]
    device: str
    threads: int


def measure_apart(job: CostJob, folder: Path, log: Log) -> dict[str, Any]:
    """Measure in a process of its own, and end it.

    A block that a script has registered, and no file that its config imports, is unknown there; all
    is measured in this process then, with a line that says so.

    Args:
        job: What is measured.
        folder: Folder of the comparison.
        log: Called with that line.

    Returns:
        ``batch_size``, ``image``, ``two_stages``, ``exported`` and ``costs``, as ``costs.json`` has
        them.

    Raises:
        MMAttnError: The error of the process, of its class.
    """
    result = folder / _RESULT
    result.unlink(missing_ok=True)
    write_json(folder / _JOB, asdict(job))
    try:
        code = _run(folder)
        said = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else None
    finally:
        (folder / _JOB).unlink(missing_ok=True)
        result.unlink(missing_ok=True)
    if said is None:
        lines = (folder / CONSOLE).read_text("utf-8", errors="replace").splitlines()
        tail = "\n".join(lines[-_SHOWN_LINES:])
        raise MMAttnError(f"measuring the costs {_ended(code)}; {folder / CONSOLE}:\n{tail}")
    if "unbuilt" in said:
        log(f"Measuring in this process, since a new one cannot build all: {said['unbuilt']}")
        try:
            with output_to(folder / CONSOLE):
                return measure_job(job)
        except UnbuiltError as error:
            raise MMAttnError(
                f"measuring the costs: {error}; {folder / CONSOLE} has all that was said"
            ) from error
    if "error" in said:
        raise getattr(errors, said["error"])(said["text"])
    return said


def measure_job(job: CostJob) -> dict[str, Any]:
    """Measure all variants of a job, in this process.

    Raises:
        UnbuiltError: The data or a variant cannot be built.
        MMAttnError: One cannot be measured.
    """
    import torch
    from mmengine.config import Config

    from mmattn.config.registry_scope import enter_scope
    from mmattn.inference.model import build_model

    from .variant_cost import measure, measure_exported

    torch.set_num_threads(job.threads)
    try:
        cfg = Config.fromfile(job.base)
        enter_scope(cfg)
        train, val = build_datasets(cfg)
        models = {label: build_model(Config.fromfile(file)) for label, file in job.configs.items()}
    except (MMAttnError, KeyError, ImportError) as error:
        raise UnbuiltError(one_line(error)) from error
    for label, model in models.items():
        # The number of proposals of a detector of two stages depends on the weights.
        weights = read_checkpoint(job.weights[label])["state_dict"]
        model.load_state_dict(weights, strict=False)
    size = samples_per_step(cfg)
    batch = collate_first(cfg, "train", train, size)
    image = collate_first(cfg, "val", val, 1)
    shape = _input_shape(models[BASE], image)
    costs = measure(models, batch, image, device=job.device)
    for model in models.values():
        model.cpu()
    exported, sentence = measure_exported(models, (shape[-2], shape[-1]))
    for label, times in exported.items():
        costs[label].exported = times
    return {
        "batch_size": size,
        "image": shape,
        "two_stages": bool(getattr(models[BASE], "with_rpn", False)),
        "exported": sentence,
        "costs": {label: cost.to_dict() for label, cost in costs.items()},
    }


def main(argv: Sequence[str]) -> int:
    """Measure the job of a folder, in the process that ``measure_apart`` starts."""
    from .worker import end_with_parent

    end_with_parent()
    folder = Path(argv[0])
    job = CostJob(**json.loads((folder / _JOB).read_text(encoding="utf-8")))
    try:
        said = measure_job(job)
    except UnbuiltError as error:
        said = {"unbuilt": str(error)}
    except MMAttnError as error:
        said = {"error": _class_name(error), "text": str(error)}
    write_json(folder / _RESULT, said)
    return 0


def _class_name(error: MMAttnError) -> str:
    """Return the name of the first class of an error that ``mmattn.errors`` has."""
    return next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)


def _run(folder: Path) -> int:
    """Run the process of a measurement, and return its exit code."""
    with (folder / CONSOLE).open("a", encoding="utf-8") as console:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
            stdin=subprocess.PIPE,  # closed when this process ends, however it does
            stdout=console,
            stderr=console,
            env=dict(os.environ),
        )
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            if process.stdin:
                process.stdin.close()


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    memory = ", as of a machine that is out of memory" if -code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{memory}"


def _input_shape(model: nn.Module, batch: Any) -> list[int]:
    """Return the shape of the tensor that the network gets for one validation image."""
    inputs = model.data_preprocessor(deepcopy(batch), False)["inputs"]
    return list(inputs.shape if hasattr(inputs, "shape") else inputs[0].shape)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
