#!/usr/bin/env python
"""Print the table of attention blocks in docs/plugins.md, from the registry.

Example:
    python -m tests.support.block_table --update
"""

from __future__ import annotations

import argparse
import functools
import inspect
import re
import sys
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs/plugins.md"
COMMAND = "python -m tests.support.block_table --update"
BEGIN, END = f"<!-- Written by `{COMMAND}`: begin -->", "<!-- end -->"
CHANNELS = (64, 256, 1024)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def blocks() -> dict[str, type]:
    """Return the registered blocks by name: what takes ``in_channels`` first and keeps the shape.

    Heads take ``in_channels`` too, and necks, with more that is required or for several levels;
    BEVANet's block is a part of its network.
    """
    from mmattn.registry import MODELS

    MODELS.import_from_location()
    return {
        name: cls
        for name, cls in sorted(MODELS.module_dict.items())
        if isinstance(cls, type)
        and cls.__module__.startswith("mmattn.projects.")
        and not cls.__module__.startswith("mmattn.projects.bevanet.")
        and _required(cls) == ["in_channels"]
        and not any(hasattr(cls, method) for method in ("loss", "loss_by_feat"))
    }


def _required(cls: type) -> list[str]:
    """Return the names of the constructor's arguments without a default."""
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]


@functools.cache
def table() -> str:
    """Return the table as Markdown."""
    sizes = " / ".join(map(str, CHANNELS))
    lines = [
        f"| block | what it is | paper | parameters for C = {sizes} | output / input when fresh |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, cls in blocks().items():
        path = cls.__module__.removeprefix("mmattn.").replace(".", "/")
        what = cls.__doc__.partition("\n")[0].rstrip(".")
        counts = " / ".join(f"{parameters(cls, channels):,}" for channels in CHANNELS)
        lines.append(
            f"| [`{name}`](../{path}.py) | {what} | {paper(cls)} | {counts} | {scale(cls):g} |"
        )
    return "\n".join(lines) + "\n"


def paper(cls: type) -> str:
    """Return a link to the paper that the module's docstring names, or its venue and year."""
    doc = sys.modules[cls.__module__].__doc__
    number = re.search(r"arXiv:(\d{4}\.\d{5})", doc)
    if number:
        return f"[{number[1]}](https://arxiv.org/abs/{number[1]})"
    return re.search(r"[A-Z]+ \d{4}", doc)[0]


def parameters(cls: type, channels: int) -> int:
    """Return the number of parameters of a block with default arguments."""
    return sum(p.numel() for p in cls(channels).parameters())


def scale(cls: type) -> float:
    """Return the size of a fresh block's output over that of its input, for noise, in twentieths.

    Root mean squares, over eight initialisations.
    """
    import torch

    sizes = []
    for seed in range(8):
        torch.manual_seed(seed)
        block, x = cls(256).eval(), torch.randn(2, 256, 32, 32)
        with torch.no_grad():
            sizes.append((block(x).square().mean() / x.square().mean()).sqrt())
    return round(20 * torch.stack(sizes).mean().item()) / 20


def with_table(text: str) -> str:
    """Return the guide's text with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def main() -> int:
    """Print the table, or write it into the guide."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the table into the guide")
    if parser.parse_args().update:
        GUIDE.write_text(with_table(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
