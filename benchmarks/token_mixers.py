"""Compare token mixers in one host: parameters, operations, time and memory against size.

``mmattn.TokenMixerHost`` holds everything but the mixer fixed (``projects/token_mixer_host``). Time
is of the processor, one thread, one image, in eval mode; the mixers take turns, and the median is
shown. Memory is what a forward pass in training keeps for the backward pass.

    python benchmarks/token_mixers.py --output benchmarks/results/token-mixers-cpu
    python benchmarks/token_mixers.py --mixers HiLo InLineAttention --exported
    python benchmarks/token_mixers.py --rounds 9 --add-exported \\
        benchmarks/results/token-mixers-cpu.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import as_line, machine

MIXERS = (
    "DepthwiseMixer", "AgentAttention", "AggregatedAttention", "AreaAttention",
    "BiLevelRoutingAttention", "ContMix", "CrissCrossAttention", "FocusedLinearAttention", "HiLo",
    "InLineAttention", "NeighborhoodAttention", "RankAugmentedAttention", "ScaleAwareModulation",
    "VariedSizeWindowAttention", "CBAM", "ECA", "GlobalContext", "SE",
)  # fmt: skip
#: Sides of the images of which time is measured, and of which memory is.
TIMED = (512, 1024)
KEPT = (128, 256, 384, 512)
#: Column of the ONNX files.
EXPORTED = "ms exported, 512"


def main(argv: list[str] | None = None) -> int:
    """Print the table, and write it where ``--output`` says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mixers", nargs="+", default=list(MIXERS), metavar="NAME")
    parser.add_argument("--scale", default="micro", help="scale of the host (micro)")
    parser.add_argument("--rounds", type=int, default=3, help="passes of each mixer and size (3)")
    parser.add_argument("--exported", action="store_true", help="time ONNX files at 512, too")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    parser.add_argument("--show", type=Path, help="print the table of a .json and measure nothing")
    parser.add_argument(
        "--add-exported",
        type=Path,
        metavar="JSON",
        help="time the ONNX files alone, and add them to that .json and its .md",
    )
    args = parser.parse_args(argv)
    if args.show:
        content = json.loads(args.show.read_text(encoding="utf-8"))
        print(f"{table(content['rows'])}\n{machines(content)}")
        return 0
    if args.add_exported:
        add_exported(args.add_exported, args.scale, args.rounds)
        return 0

    import torch

    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    hosts = {name: host(name, args.scale) for name in args.mixers}
    rows = {name: costs(model) for name, model in hosts.items()}
    for side in TIMED:
        for name, seconds in times(hosts, side, args.rounds).items():
            rows[name][f"ms at {side}"] = 1000 * seconds
    for name, model in hosts.items():
        for side in KEPT:
            rows[name][f"MB kept at {side}"] = kept(model, side)
        if args.exported:
            rows[name][EXPORTED] = 1000 * exported(model, args.rounds)
    facts = {**machine("cpu"), "load before": f"{load:.1f}"}
    text = table(rows)
    print(text)
    if args.output:
        content = {"machine": facts, "rows": rows}
        write(args.output, content)
    return 0


def add_exported(file: Path, scale: str, rounds: int) -> None:
    """Time the ONNX file of each mixer of a table that lacks it, and add that column.

    The table is written after each, so that the same command goes on where it was stopped.
    """
    import torch

    torch.set_num_threads(1)
    content = json.loads(file.read_text(encoding="utf-8"))
    loads = content.setdefault("load at the exported files", {})
    for name, row in content["rows"].items():
        if EXPORTED in row:
            continue
        loads[name] = os.getloadavg()[0]
        row[EXPORTED] = 1000 * exported(host(name, scale), rounds)
        print(f"{name}: {row[EXPORTED]:.3g} ms, load {loads[name]:.1f}", flush=True)
        content["machine of the exported files"] = machine("cpu")
        write(file, content)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a table as .json and .md."""
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    page = f"{machines(content)}\n\n{table(content['rows'])}"
    path.with_suffix(".md").write_text(page, "utf-8")


def machines(content: dict[str, Any]) -> str:
    """Return the machine, and that of the exported files where it is told apart."""
    lines = [as_line(content["machine"])]
    if facts := content.get("machine of the exported files"):
        loads = content["load at the exported files"].values()
        load = f"load before each {min(loads):.1f} to {max(loads):.1f}"
        lines.append(f"Exported files, onnxruntime, one thread: {as_line(facts)}; {load}")
    return "\n\n".join(lines)


def host(mixer: str, scale: str) -> Any:
    """Return the host with a mixer, in eval mode, its weights from one seed."""
    import torch

    from mmattn.registry import MODELS

    torch.manual_seed(0)
    cfg = {"type": f"mmattn.{mixer}"}
    return MODELS.build(
        {"type": "mmattn.TokenMixerHost", "token_mixer": cfg, "scale": scale}
    ).eval()


def costs(model: Any) -> dict[str, float]:
    """Return parameters and operations, 2 per multiply-add, for an image of 512 x 512."""
    import copy

    from mmattn.complexity import count_flops

    million = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    found: dict[str, float] = {"M parameters": million}
    try:
        flops = count_flops(copy.deepcopy(model).to("meta"), 1, 3, 512, 512)
    except (RuntimeError, NotImplementedError):  # what it computes decides what it does
        flops = float("nan")
    return {**found, "GFLOPs at 512": flops / 1e9}


def times(hosts: dict[str, Any], side: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of the processor of each host's forward pass, taken in turns."""
    import torch

    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {name: [] for name in hosts}
    with torch.no_grad():
        for turn in range(rounds + 1):
            for name, model in hosts.items():
                start = time.process_time()
                model(x)
                if turn:  # the first warms up
                    taken[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def kept(model: Any, side: int) -> float:
    """Return the MB (10^6 bytes) that a forward pass in training keeps for the backward pass."""
    import torch

    from mmattn.training_memory import saved_for_backward

    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    model.train()
    found = saved_for_backward(lambda: model(x), {"weights": model.parameters()})
    model.eval()
    return found["other"] / 1e6


def exported(model: Any, rounds: int) -> float:
    """Return the median seconds of the processor of the ONNX file's forward pass at 512."""
    import numpy as np
    import onnxruntime
    import torch

    x = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "host.onnx"
        torch.onnx.export(model, (x,), str(file), dynamo=True, verbose=False, external_data=False)
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
    (name,) = (value.name for value in session.get_inputs())
    found = session.run(None, {name: x.numpy()})
    with torch.no_grad():
        for mine, theirs in zip(found, model(x), strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-3, atol=1e-3)
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        session.run(None, {name: x.numpy()})
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return the rows as Markdown, with the growth of memory from 256 to 512."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [f"| mixer | {' | '.join(columns)} | growth of memory, 256 to 512 |"]
    lines.append("| --- |" + " --- |" * (len(columns) + 1))
    for name, row in rows.items():
        growth = row["MB kept at 512"] / row["MB kept at 256"]
        cells = " | ".join(_cell(row.get(column)) for column in columns)
        lines.append(f"| {name} | {cells} | {growth:.2f} |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
