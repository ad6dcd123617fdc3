"""``mmattn slots``: list every place of a model where a block can be inserted."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

from . import _arguments as arguments
from ._run import run

if TYPE_CHECKING:
    from mmattn.inference.slots import PartSlots
    from mmattn.plugins.costs import BlockCost
    from mmattn.plugins.slots import Slot

EXAMPLES = """\
%(prog)s mmdet::retinanet/retinanet_r50_fpn_1x_coco.py
%(prog)s mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py --size 512 1024 --block CBAM
%(prog)s my_config.py --part backbone --block "ELA-T(residual=True)" --json places.json
"""
NOTES = """\
A line stands for places that look alike, with the words that the config needs: at=... and
stages=... for mmattn.WithPlugins, position=... for plugins of a ResNet of mmdet or mmseg. The place
behind at= is also what mmattn compare --at takes; both take it without its part (layer3 for
backbone.layer3) too, compare where one part alone has such a submodule. Sizes,
strides, parameters and operations are those of one place. A submodule that is called several
times, as a head's is at every level, has one block for all its calls; the size is that of the
first, the operations are the sum. Operations are those of convolutions and matrix products, 2 for
each multiply-add.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn slots") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "List every place of a model where an attention block can be inserted.",
        EXAMPLES,
        NOTES,
    )
    arguments.add_config(parser)
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="height and width of the image (default: those that the config trains on, else "
        "512 512)",
    )
    parser.add_argument(
        "--block", metavar="BLOCK", help="block whose cost is told, as for mmattn compare --insert"
    )
    parser.add_argument(
        "--part", metavar="PART", help="list this part of the model alone, such as backbone"
    )
    parser.add_argument("--json", metavar="FILE", help="write all of it as JSON")
    arguments.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn slots") -> int:
    """Print a table for each part of the model; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _list(args))


def _list(args: argparse.Namespace) -> None:
    from mmattn.compare.variants import parse_variant
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.export.run import default_shape
    from mmattn.inference.slots import list_slots

    if args.size and min(args.size) < 1:
        raise ConfigError(f"--size {args.size[0]} {args.size[1]}: both must be at least 1.")
    cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
    block = parse_variant(args.block).block if args.block else None
    size = tuple(args.size or default_shape(cfg))
    parts = list_slots(cfg, size, block, args.part)
    usual = _usual_place(block)
    print(f"Image: {size[0]} x {size[1]}{'' if args.size else ', as the config has it'}.")
    if usual:
        print(f"{args.block}, in its paper: {usual}")
    for part in parts:
        print(f"\n{_page(part, usual)}")
    if args.json:
        _write(args.json, args, size, parts, usual)


def _usual_place(block: Any) -> str:
    """Return where the block's paper puts it, as the block says; "" if it does not."""
    from mmattn.plugins.blocks import find_block

    return "" if block is None else getattr(find_block(block["type"], "--block"), "usual_place", "")


def _page(part: PartSlots, usual: str) -> str:
    """Return one part as text: its table, and what was left out and why."""
    from mmattn.tables import text_table

    lines = [f"{part.part}: {part.network}"]
    if part.found is None:
        return (
            f"{lines[0]} cannot be run by itself on feature maps, no place is known: {part.error}"
        )
    shapes = part.found.input_shapes
    if shapes is not None:
        lines.append(f"WithPlugins needs input_shapes={[tuple(shape) for shape in shapes]} here.")
    head, align = ["places", "where", "C", "H", "W", "stride"], "rlrrrr"
    if part.costs:
        head, align = [*head, "parameters", "MFLOPs"], align + "rr"
    rows = []
    for number, slot in enumerate(part.found.slots):
        stride = "" if slot.stride is None else slot.stride
        row = [len(slot.names), _where(slot, usual), slot.channels, *slot.sizes[0], stride]
        rows.append([*row, *(_cells(part.costs[number]) if part.costs else ())])
    lines.append(text_table(head, rows, align=align))
    for reason in dict.fromkeys(cost for cost in part.costs if isinstance(cost, str)):
        lines.append(f"no: {reason}")
    if part.found.refused:
        left_out = "; ".join(
            f"{len(names)} submodule{'s' * (len(names) != 1)}: {reason}"
            for reason, names in part.found.refused.items()
        )
        lines.append(f"No block can be put behind {left_out}.")
    return "\n".join(lines)


def _where(slot: Slot, usual: str) -> str:
    """Return the words for the config, and what is special about the place."""
    words = ", ".join(f"{key}={value!r}" for key, value in slot.where.items())
    notes = []
    if len(slot.sizes) > 1:
        notes.append(f"{len(slot.sizes)} calls")
    if slot.last:
        notes.append("before the addition")
    position = slot.where.get("position")
    named = position and f"{position!r}" in usual
    first = position and slot.where["stages"][0] and "but for the first stage" in usual
    if named or (slot.last and "before the addition" in usual and not first):
        notes.append("as in the paper")
    return f"{words} ({', '.join(notes)})" if notes else words


def _cells(cost: BlockCost | str) -> tuple[str, str]:
    if isinstance(cost, str):
        return "no", "no"
    flops = "?" if cost.flops is None else f"{cost.flops / 1e6:,.2f}"
    return f"{cost.parameters:,}", flops


def _write(
    path: str,
    args: argparse.Namespace,
    size: tuple[int, int],
    parts: list[PartSlots],
    usual: str,
) -> None:
    from mmattn.io import atomic_write

    content = {
        "config": args.config,
        "size": list(size),
        "block": args.block,
        "usual_place": usual,
        "parts": [asdict(part) for part in parts],
    }
    try:
        with atomic_write(path, "w") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written: {error.strerror}") from error
