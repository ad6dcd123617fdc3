"""``mmattn convert``: convert a checkpoint of another project's layout."""

from __future__ import annotations

import argparse
import sys

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s --list
%(prog)s official_ccnet.pth ccnet.safetensors \\
    --config configs/ccnet/ccnet_r101-d8-authors_4xb2-60k_cityscapes-769x769.py
%(prog)s mobilenet_v2.pth backbone.safetensors --converter torchvision-mobilenetv2-mmseg
%(prog)s cbam_resnet50.safetensors timm_layout.safetensors --converter cbam-timm --reverse
"""
NOTES = """\
The layout is recognised by its keys; weights of an unknown layout keep their names. Beside
OUT.safetensors, OUT.json records the source's SHA-256, the converter and the date.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn convert") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Convert a checkpoint of another project's layout to safetensors, with a record of its "
        "origin.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="checkpoint to convert")
    parser.add_argument("out", nargs="?", metavar="OUT", help=".safetensors file to write")
    parser.add_argument("--list", action="store_true", help="list the converters and stop")
    parser.add_argument("--converter", metavar="NAME", help="converter to use, where several fit")
    parser.add_argument(
        "--reverse",
        action="store_true",
        help="convert from mmattn's layout to that of the converter's project (needs --converter)",
    )
    parser.add_argument("--config", help="config of a model to compare the result with")
    parser.add_argument(
        "--part",
        default="",
        help="part of that model that the weights are for, such as backbone",
    )
    parser.add_argument(
        "--i-trust-this-file",
        action="store_true",
        help="unpickle the source, which runs whatever code it contains",
    )
    args = parser.parse_args(argv)
    if not args.list and not args.out:
        parser.error("SOURCE and OUT are needed (or --list)")
    if args.out and not args.out.endswith(".safetensors"):
        parser.error(f"OUT must end in .safetensors, got {args.out}")
    return args


def main(argv: list[str] | None = None, prog: str = "mmattn convert") -> int:
    """Convert or list; returns the exit code, 6 where the result does not fit the model."""
    args = parse_args(argv, prog)
    return run(lambda: _list_converters() if args.list else _convert(args))


def _register_converters() -> None:
    """Import all plugins, which register their converters; name those that cannot be imported."""
    from mmattn.plugin_imports import import_all_plugins

    for error in import_all_plugins():  # their converters are missing, all others work
        print(f"convert: {error}", file=sys.stderr)


def _list_converters() -> None:
    _register_converters()
    from mmattn.io.convert import converters

    known = converters()
    width = max(len(converter.name) for converter in known)
    for converter in known:
        print(f"{converter.name:<{width}}  {converter.description}")


def _convert(args: argparse.Namespace) -> int:
    """Read, convert, compare with the model if there is one, write."""
    _register_converters()
    from mmattn.errors import CheckpointError
    from mmattn.io import read_checkpoint, read_trusted_pickle
    from mmattn.io.convert import convert_checkpoint, weights_of, write_converted

    if args.i_trust_this_file:
        checkpoint, _ = read_trusted_pickle(args.source)
    else:
        checkpoint = read_checkpoint(args.source, modules=True)
    conversion = convert_checkpoint(checkpoint, args.converter, reverse=args.reverse)
    if conversion is None:
        name, weights, meta = None, weights_of(checkpoint), {}
    else:
        name, weights, meta = conversion.converter, conversion.state_dict, conversion.meta
        print(f"{name}: {len(weights)} keys converted, {len(conversion.left_out)} left out")
        for key in conversion.left_out:
            print(f"  left out: {key}")
        if conversion.note:
            print(conversion.note)
    fits = not args.config or _report_fit(args.config, args.part, weights)
    if conversion is None and args.config and fits:
        print("No other project's layout: the names are mmattn's already and are kept.")
    elif conversion is None:
        print("No converter recognises the layout: the names are kept.")
        if not args.config:
            print(
                "Nothing was converted: --list shows the layouts, --config compares with a model."
            )
    record = write_converted(args.out, weights, source=args.source, converter=name, meta=meta)
    print(f"Wrote {args.out} and its record {record}.")
    return 0 if fits else CheckpointError.exit_code


def _report_fit(config: str, part: str, weights: dict) -> bool:
    """Load ``weights`` into the model of ``config``, print how they match, return whether they do.

    Args:
        config: Config of the model.
        part: Submodule that the weights are for; empty for the whole model.
        weights: State dict.
    """
    from mmattn.config import load_config
    from mmattn.inference import build_model
    from mmattn.io import load_state_dict

    model = build_model(load_config(config))
    report = load_state_dict(model.get_submodule(part), weights)
    print(f"{config}{f' ({part})' if part else ''}: {report}")
    counters = sum(key.endswith("num_batches_tracked") for key in weights)
    if counters:
        print(f"  not counted: {counters} counters of BatchNorm (num_batches_tracked)")
    for title in ("missing", "unexpected", "mismatched"):
        for key in getattr(report, title):
            print(f"  {title}: {key}")
    return report.complete
