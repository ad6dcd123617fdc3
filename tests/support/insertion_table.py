#!/usr/bin/env python
"""Measure every block in every host, and write docs/insertions.md.

A block that the page does not have yet is measured, the others are kept; ``--all`` measures anew.

Example:
    python -m tests.support.insertion_table --update
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from mmattn.plugins.identity import RESIDUAL_SCALE
from tests.support.block_table import blocks
from tests.support.insertion_hosts import HOSTS, inserted, tensors

PAGE = Path(__file__).resolve().parents[2] / "docs/insertions.md"
COMMAND = "python -m tests.support.insertion_table --update"
HEAD = f"""\
# Every block in every network

Written by `{COMMAND}`, which inserts every registered block with `init="identity"`
([what that is](plugins.md#start-as-the-identity)) at all of the places below into a small network
of each family, loads the weights of the network without blocks, and measures in float32 on a CPU:

- **identity**: the largest difference to the outputs of the network without blocks, in eval mode,
  at two odd sizes; 0 is bit for bit.
- **parameters**: those that the blocks add, s among them, all places together.
- **ONNX**: the largest difference of the exported file, in onnxruntime, to torch, relative to the
  largest output; `SE` at the first of the places, with s = 1/2. (That every block exports is
  tested by itself, at sizes that it was not traced at.)

The same run tests keys, gradients and reload; a failure would stand in the place of the number.
Every key of the network without blocks loads, and none is missing but those of blocks; a gradient
reaches every block in the first step; with s = 1/2 the blocks act, and the state dict loads
strictly into a second network, whose outputs are the same bit for bit.
"""


@dataclass(frozen=True)
class Cell:
    """Result of one block in one host.

    Attributes:
        parameters: Parameters that the blocks add.
        identity: Largest difference to the outputs without blocks.
        failure: What failed besides; "" for nothing.
    """

    parameters: int
    identity: float
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.parameters:,} | {self.failure or f'{self.identity:.2g}'}"


@cache
def plain(host: str) -> tuple[dict[str, Tensor], list[list[Tensor]]]:
    """Return weights of a host without blocks, and its outputs at both sizes."""
    network = HOSTS[host].build()
    with torch.no_grad():
        for parameter in network.parameters():
            # A weight that is zero, as the last norm's of a residual, would hide a block.
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    network.eval()
    return network.state_dict(), [outputs(network, host, number) for number in (0, 1)]


def outputs(network: nn.Module, host: str, number: int) -> list[Tensor]:
    """Return the outputs at one of the host's two sizes."""
    with torch.no_grad():
        return list(tensors(network(HOSTS[host].inputs(number))))


def block_cfg(name: str) -> dict[str, str]:
    """Return the config of a block in the identity form."""
    return {"type": f"mmattn.{name}", "init": "identity"}


def measure(host: str, block: str) -> Cell:
    """Insert a block into a host and test all promises of the page but the export."""
    cfg = block_cfg(block)
    network = HOSTS[host].build(cfg)
    parts = inserted(network)
    state, expected = plain(host)
    missing, unexpected = network.load_state_dict(state, strict=False)
    starts = tuple(f"{name}." for name in parts)
    parameters = sum(p.numel() for part in parts.values() for p in part.parameters())
    if unexpected or any(not key.startswith(starts) for key in missing):
        return Cell(parameters, 0, "keys lost")
    network.eval()
    identity = max(
        (a - b).abs().max().item()
        for number in (0, 1)
        for a, b in zip(outputs(network, host, number), expected[number], strict=True)
    )
    network.train()
    loss = sum(y.square().mean() for y in tensors(network(HOSTS[host].inputs(0, batch=2))))
    loss.backward()
    for name, part in parts.items():
        grads = [p.grad for p in part.parameters()]
        if any(grad is None or not grad.isfinite().all() for grad in grads):
            return Cell(parameters, identity, f"no gradient in {name}")
        if grads and not any(grad.any() for grad in grads):
            return Cell(parameters, identity, f"{name} does not learn")
    awaken(parts)
    network.eval()
    acting = outputs(network, host, 0)
    if all(torch.equal(a, b) for a, b in zip(acting, expected[0], strict=True)):
        return Cell(parameters, identity, "does not act")
    again = HOSTS[host].build(cfg, seed=1)
    again.load_state_dict(network.state_dict())
    again.eval()
    if not all(torch.equal(a, b) for a, b in zip(acting, outputs(again, host, 0), strict=True)):
        return Cell(parameters, identity, "another output after reload")
    return Cell(parameters, identity)


def awaken(parts: Mapping[str, nn.Module]) -> None:
    """Set s to 1/2, and what is zero in blocks that start as the identity to random numbers."""
    for part in parts.values():
        if RESIDUAL_SCALE in part._parameters:
            nn.init.constant_(part.get_parameter(RESIDUAL_SCALE), 0.5)
        else:
            for parameter in part.parameters():
                nn.init.normal_(parameter, std=0.1)


def export_error(host: str, block: str = "SE") -> float:
    """Return the relative difference to torch of the ONNX file of a host with a block."""
    import onnxruntime

    network = HOSTS[host].build(block_cfg(block), places=1)
    network.load_state_dict(plain(host)[0], strict=False)
    awaken(inserted(network))
    network.eval()
    x = HOSTS[host].inputs(0)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(network, (x,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    given = [x] if isinstance(x, Tensor) else x
    feeds = {i.name: one.numpy() for i, one in zip(session.get_inputs(), given, strict=True)}
    expected = outputs(network, host, 0)
    found = [torch.from_numpy(y) for y in session.run(None, feeds)]
    return max(
        ((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected, strict=True)
    )


def read(text: str) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """Return what a page has: (host, block) -> cells of the row, and host -> line of the export."""
    rows: dict[tuple[str, str], str] = {}
    exports: dict[str, str] = {}
    for section in text.split("\n## ")[1:]:
        host, _, body = section.partition("\n")
        for name, cells in re.findall(r"^\| `(\w+)` \| (.*) \|$", body, re.MULTILINE):
            rows[host, name] = cells
        exports.update((host, line) for line in re.findall(r"^(ONNX.*)$", body, re.MULTILINE))
    return rows, exports


def places(host: str) -> str:
    """Return the places of a host, in the words of a config."""
    words = [
        ", ".join(f"{key}={value!r}" for key, value in place.items())
        for place in HOSTS[host].places
    ]
    return "; ".join(f"`{word}`" for word in words)


def main() -> int:
    """Measure what is missing and write or print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the page")
    parser.add_argument("--all", action="store_true", help="measure all of it anew")
    parser.add_argument("--no-export", action="store_true", help="keep the lines of the export")
    args = parser.parse_args()
    torch.set_num_threads(1)
    known = PAGE.read_text(encoding="utf-8") if PAGE.is_file() and not args.all else ""
    rows, exports = read(known)
    names = list(blocks())
    parts = [HEAD]
    for host in HOSTS:
        new = [name for name in names if (host, name) not in rows]
        for name in new:
            rows[host, name] = str(measure(host, name))
            print(f"{host} | {name} | {rows[host, name]}", flush=True)
        if host not in exports and not args.no_export:
            exports[host] = f"ONNX: {export_error(host):.1g}"
            print(f"{host} | {exports[host]}", flush=True)
        count = len(inserted(HOSTS[host].build(block_cfg(names[0]))))
        table = [f"| `{name}` | {rows[host, name]} |" for name in names]
        parts.append(
            f"\n## {host}\n\n{count} places: {places(host)}\n\n| block | parameters | identity |\n"
            "| --- | --- | --- |\n"
            + "\n".join(table)
            + f"\n\n{exports.get(host, 'The export has not been measured.')}\n"
        )
        if args.update:  # what is measured is kept if this is stopped
            PAGE.write_text("".join(parts) + _rest(known, list(HOSTS), host), encoding="utf-8")
    if not args.update:
        print("".join(parts))
    return 0


def _rest(known: str, hosts: list[str], host: str) -> str:
    """Return the sections of a page behind that of ``host``."""
    later = set(hosts[hosts.index(host) + 1 :])
    sections = known.split("\n## ")[1:]
    return "".join(f"\n## {s}" for s in sections if s.partition("\n")[0] in later)


if __name__ == "__main__":
    raise SystemExit(main())
