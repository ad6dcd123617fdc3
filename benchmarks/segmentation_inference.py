"""Memory and time of prediction: mmseg's ``EncoderDecoder`` against mmattn's, of equal weights.

Both label one image, whole and in sliding windows, with a small dilated network that answers at
1/8 of the image's size; the labels are asserted to be equal (blended windows have no counterpart
in mmseg). Memory is what torch's allocator had handed out at its highest, without weights and the
image: the same in every run. For the times, all take turns in one process. The rows "network"
are the forward pass alone, which all of them need.

    python benchmarks/segmentation_inference.py
    python benchmarks/segmentation_inference.py --size 512 683
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from machine import as_line, machine

from mmattn.tables import markdown_table


def main(argv: list[str] | None = None) -> int:
    """Build, check, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), metavar=("H", "W"))
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    args = parser.parse_args(argv)

    import torch

    from mmattn.compare.variant_cost import interleaved, peak_bytes

    torch.set_num_threads(args.threads)
    calls = predictions(tuple(args.size), args.classes)
    rows = {name: {"peak_mb": peak_bytes(call) / 1e6} for name, call in calls.items()}
    for name, seconds in interleaved(calls, args.rounds, warm_up=1).items():
        rows[name] |= {"min_s": min(seconds), "median_s": statistics.median(seconds)}
    size = f"{args.size[0]} x {args.size[1]}"
    head = f"{as_line(machine('cpu'))}\n{size}, {args.classes} classes, {args.threads} thread(s)"
    table = as_table(rows)
    print(f"{head}\n{table}")
    if args.output:
        content = {"machine": machine("cpu"), "input": head.splitlines()[1], "rows": rows}
        args.output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
        args.output.with_suffix(".md").write_text(f"{head}\n\n{table}\n")
    return 0


def predictions(size: tuple[int, int], classes: int) -> dict[str, Callable]:
    """Return what is measured, by mode and contender, as functions without arguments."""
    import torch
    from mmseg.structures import SegDataSample

    noise = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=noise)
    crop = tuple(side // 2 for side in size)
    slide = {"mode": "slide", "crop_size": crop, "stride": tuple(2 * side // 3 for side in crop)}
    meta = {"ori_shape": size, "img_shape": size, "pad_shape": size}

    def prediction(scope: str, test_cfg: dict) -> Callable[[], torch.Tensor]:
        model = segmentor(scope, test_cfg, classes)

        @torch.no_grad()
        def run() -> torch.Tensor:
            (result,) = model.predict(image, [SegDataSample(metainfo=dict(meta))])
            return result.pred_sem_seg.data

        return run

    calls: dict[str, Callable] = {}
    for mode, test_cfg in (("whole", {"mode": "whole"}), ("slide", slide)):
        model = segmentor("mmseg", test_cfg, classes)
        parts = [image] if mode == "whole" else windows(image, test_cfg)
        calls[f"{mode}, network"] = forward(model, parts)
        for scope in ("mmseg", "mmattn"):
            calls[f"{mode}, {scope}"] = prediction(scope, test_cfg)
        if not torch.equal(calls[f"{mode}, mmseg"](), calls[f"{mode}, mmattn"]()):
            raise SystemExit(f"{mode}: the labels differ")
    calls["slide, mmattn, blend='cosine'"] = prediction("mmattn", {**slide, "blend": "cosine"})
    return calls


def segmentor(scope: str, test_cfg: dict, classes: int):
    """Build an FCN on a narrow ResNet-18 of output stride 8, with the weights of seed 0."""
    import torch
    from mmengine.config import ConfigDict
    from mmengine.registry import MODELS

    import mmattn  # noqa: F401  (registers)

    torch.manual_seed(0)
    model = MODELS.build(
        {
            "type": f"{scope}.EncoderDecoder",
            "data_preprocessor": {"type": "mmseg.SegDataPreProcessor"},
            "backbone": {
                "type": "mmseg.ResNet",
                "depth": 18,
                "base_channels": 16,
                "stem_channels": 16,
                "strides": (1, 2, 1, 1),
                "dilations": (1, 1, 2, 4),
                "norm_cfg": {"type": "BN"},
            },
            "decode_head": {
                "type": "mmseg.FCNHead",
                "in_channels": 128,
                "in_index": 3,
                "channels": 64,
                "num_convs": 1,
                "concat_input": False,
                "num_classes": classes,
                "norm_cfg": {"type": "BN"},
            },
            "test_cfg": ConfigDict(test_cfg),
        }
    )
    # Away from the initial state, where all logits are close to zero.
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    return model.eval()


def windows(image, test_cfg: dict) -> list:
    """Cut an image into the parts that a sliding window shows."""
    from mmattn.layers.logit_maps import sliding_windows

    size = tuple(image.shape[2:])
    places = sliding_windows(size, test_cfg["crop_size"], test_cfg["stride"])
    return [window.of(image) for window in places]


def forward(model, parts: list) -> Callable[[], None]:
    """Run the network on images, one by one, and forget their logits."""
    import torch

    @torch.no_grad()
    def run() -> None:
        for part in parts:
            model.decode_head.forward(model.extract_feat(part))

    return run


def as_table(rows: dict[str, dict[str, float]]) -> str:
    """Write a Markdown table."""
    lines = [
        [name, f"{row['peak_mb']:.0f}", f"{row['min_s']:.2f}", f"{row['median_s']:.2f}"]
        for name, row in rows.items()
    ]
    return markdown_table(
        ["mode and contender", "peak MB", "min s", "median s"], lines, align="lrrr"
    )


if __name__ == "__main__":
    sys.exit(main())
