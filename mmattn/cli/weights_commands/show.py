"""``mmattn weights show``: all that is known of weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmattn.weights.entries import Entry

EXAMPLES = """\
%(prog)s show ccnet_r50-d8_4xb2-80k_cityscapes-512x1024
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="names of weights")


def main(args: argparse.Namespace) -> None:
    """Print what is known, one block for each name."""
    from mmattn.weights import find_entry

    for entry in [find_entry(name) for name in args.names]:
        facts = _facts(entry)
        width = max(len(key) for key, _ in facts)
        print("\n".join(f"{key:<{width}}  {value}" for key, value in facts), end="\n\n")


def _facts(entry: Entry) -> list[tuple[str, str]]:
    from mmattn.weights.cache import cached_source, source_path
    from mmattn.weights.converted import converted_path
    from mmattn.weights.entries import NOT_KNOWN
    from mmattn.weights.places import places_of

    digest = entry.sha256 or (entry.sha256_prefix and f"{entry.sha256_prefix}…") or NOT_KNOWN
    facts = [
        ("name", entry.name),
        ("of", f"{entry.system}, {entry.task}, {entry.dataset}"),
        ("config", entry.config or "none: weights of a part of a network"),
        ("file", entry.file),
        ("bytes", f"{entry.size:,}" if entry.size else NOT_KNOWN),
        ("sha256", digest),
        ("layout", entry.layout),
        ("converter", entry.converter or "none: loads as it is"),
        ("licence", str(entry.licence) + (" (to be accepted)" if entry.licence.asks else "")),
        ("quality", _quality(entry)),
        ("page", entry.page or NOT_KNOWN),
    ]
    places = [place.name for place in places_of(entry)]
    facts.append(("asked in turn", ", ".join(places) or "none: a person downloads it"))
    record = cached_source(entry)
    if record is None:
        return [*facts, ("here", f"no; it belongs at {source_path(entry)}")]
    facts.append(("here", f"{source_path(entry)}, sha256 {record.sha256}, from {record.origin}"))
    if entry.converter and converted_path(entry, record).is_file():
        facts.append(("converted", str(converted_path(entry, record))))
    return facts


def _quality(entry: Entry) -> str:
    from mmattn.weights.entries import NOT_KNOWN

    metric = entry.metric
    if metric is None:
        return NOT_KNOWN
    measured = metric.measured_here
    here = f"{measured['value']:g} by {measured['cmd']}" if measured else "not measured"
    paper, upstream = (
        NOT_KNOWN if v is None else f"{v:g}" for v in (metric.paper, metric.upstream)
    )
    return f"{metric.name}: paper {paper}, publisher of the file {upstream}, here {here}"
