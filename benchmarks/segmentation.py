"""Time the forms of segmentation networks: as trained, channels-last, fused, compiled, exported.

Every form takes images in 0..255 and returns logits of their size. The forms of one network are
asserted to agree; then all of them, of all networks, take turns in one process. Kept are the
shortest and the median time and, since other processes disturb it less, the shortest time of this
process's CPUs. Weights are random: no time depends on them.

    python benchmarks/segmentation.py configs/bevanet/bevanet-s_1xb24-100e_camvid-720x960.py \\
        mmseg::pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py \\
        mmseg::ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py \\
        --size 720 960 --forms eager channels_last fused onnxruntime
    python benchmarks/segmentation.py --show benchmarks/results/segmentation-cpu-*.json

A network that has nothing to fuse (mmattn.layers.fuse) has no form "fused". "fused_bf16" is the
fused model under autocast: other numbers, so it need only agree to 10 %.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import as_line, machine

from mmattn.tables import markdown_table

# Threads that wait for work should sleep: spinning ones would disturb the contender that follows.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

FORMS = ("eager", "channels_last", "fused", "fused_bf16", "compiled", "onnxruntime")
TOLERANCE = 1e-3  # of the largest logit
LOW_TOLERANCE = 0.1  # with eight bits of mantissa


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="*", help="configs of mmseg EncoderDecoders")
    parser.add_argument("--size", type=int, nargs=2, default=(720, 960), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["eager", "fused"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="time for all of them together")
    parser.add_argument("--output", type=Path, help="a .json file for the figures")
    parser.add_argument("--show", nargs="+", type=Path, metavar="JSON", help="print them again")
    args = parser.parse_args(argv)
    if bool(args.configs) == bool(args.show):
        parser.error("give configs to time, or --show files that were written before")
    return args


def main(argv: list[str] | None = None) -> int:
    """Build, check, time, print."""
    args = parse_args(argv)
    if args.show:
        print("\n\n".join(text_of(json.loads(path.read_text())) for path in args.show))
        return 0
    import torch

    torch.set_num_threads(args.threads)
    shape = (args.batch, 3, *args.size)
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float()
    runs: dict[tuple[str, str], Callable[[], torch.Tensor]] = {}
    for config in args.configs:
        name = Path(config.rpartition("::")[2]).stem.split("_")[0]
        print(f"{config}: preparing", file=sys.stderr, flush=True)
        for form, run in forms_of(config, args, images).items():
            runs[name, form] = run
        compare({key: run for key, run in runs.items() if key[0] == name}, args.dtype)
    rows = take_turns(runs, args.seconds, args.device)
    figures = {
        "input": f"{args.batch} x 3 x {args.size[0]} x {args.size[1]}",
        "dtype": args.dtype,
        "threads": args.threads,
        "load": f"{os.getloadavg()[0]:.1f}",
        **machine(args.device),
        "rows": rows,
    }
    print(text_of(figures))
    if args.output:
        args.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def text_of(figures: dict) -> str:
    """Put the conditions into one line above the table."""
    conditions = {name: value for name, value in figures.items() if name != "rows"}
    return f"{as_line(conditions)}\n\n{as_table(figures['rows'])}"


def forms_of(config: str, args: argparse.Namespace, images) -> dict[str, Callable]:
    """Return the forms asked for, each as a function without arguments."""
    import copy

    import torch

    from mmattn.config import load_config
    from mmattn.export import SemanticExport
    from mmattn.inference import build_model
    from mmattn.layers.fuse import fuse

    torch.manual_seed(0)
    model = build_model(load_config(config))
    fused = fuse(model)
    dtype = getattr(torch, args.dtype)

    def torch_run(network, *, channels_last=True, compiled=False, low=False) -> Callable:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        network = SemanticExport(network).eval().to(args.device, dtype)
        network = network.to(memory_format=layout)
        x = images.to(args.device, dtype, memory_format=layout)
        call = torch.compile(network) if compiled else network

        def run() -> torch.Tensor:
            with torch.no_grad(), torch.autocast(args.device, torch.bfloat16, enabled=low):
                return call(x)

        return run

    makers: dict[str, Callable[[], Callable]] = {
        "eager": lambda: torch_run(copy.deepcopy(model), channels_last=False),
        "channels_last": lambda: torch_run(copy.deepcopy(model)),
        "fused": lambda: torch_run(fused),
        "fused_bf16": lambda: torch_run(copy.deepcopy(fused), low=True),
        "compiled": lambda: torch_run(copy.deepcopy(fused), compiled=True),
        "onnxruntime": lambda: onnx_run(fused, args, images),
    }
    forms = [name for name in args.forms if "fused" not in name or fused is not model]
    return {name: makers[name]() for name in forms}


def onnx_run(model, args: argparse.Namespace, images) -> Callable:
    """Run the exported fused model in onnxruntime, on the CPU."""
    import torch

    from mmattn.export import OnnxSession, export_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model, path, shape=tuple(args.size), dynamic=args.batch > 1)
        session = OnnxSession(path, num_threads=args.threads).session
    x = {"images": images.numpy()}
    return lambda: torch.from_numpy(session.run(None, x)[0])


def compare(runs: dict, dtype: str) -> None:
    """Check that the forms of one network agree with the first of them; also the warm-up."""
    expected = None
    for (name, form), run in runs.items():
        got = run().double().cpu()
        expected = got if expected is None else expected
        error = ((got - expected).abs().max() / expected.abs().max()).item()
        exact = dtype == "float32" and form != "fused_bf16"
        if not error <= (TOLERANCE if exact else LOW_TOLERANCE):
            raise SystemExit(
                f"{name}: {form} differs from the first form by {error:.1e} of the largest logit"
            )


def take_turns(runs: dict, seconds: float, device: str) -> list[dict]:
    """Time all of them in turn, in milliseconds, for at least three rounds."""
    import torch

    wall: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    cpu: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    names, start = list(runs), time.perf_counter()
    while time.perf_counter() - start < seconds or len(wall[names[0]]) < 3:
        for key in names:
            begun, used = time.perf_counter(), time.process_time()
            runs[key]()
            if device == "cuda":
                torch.cuda.synchronize()
            cpu[key].append(time.process_time() - used)
            wall[key].append(time.perf_counter() - begun)
        names.append(names.pop(0))  # nobody always follows the same one
    return [
        {
            "network": key[0],
            "form": key[1],
            "min_ms": 1e3 * min(wall[key]),
            "median_ms": 1e3 * statistics.median(wall[key]),
            "cpu_min_ms": 1e3 * min(cpu[key]),
            "runs": len(wall[key]),
        }
        for key in runs
    ]


def as_table(rows: list[dict]) -> str:
    """Write a Markdown table; ratios are to the first form of the same network."""
    first: dict[str, dict] = {}
    head = ["network", "form", "min ms", "median ms", "CPU ms", "times faster", "by CPU time"]
    lines = []
    for row in rows:
        base = first.setdefault(row["network"], row)
        cells = [row["network"], row["form"]]
        cells += [f"{row[key]:.1f}" for key in ("min_ms", "median_ms", "cpu_min_ms")]
        cells += [f"{base[key] / row[key]:.2f}" for key in ("min_ms", "cpu_min_ms")]
        lines.append(cells)
    return markdown_table(head, lines, align="llrrrrr")


if __name__ == "__main__":
    sys.exit(main())
