"""Compile every GPU kernel for sm_80 and sm_90, without a GPU, and look for spilled registers.

CUDA sources are compiled by nvcc, Triton kernels by Triton's own compiler if their module lists the
types to compile for (``ahead_of_time()``). Kernels that cannot be compiled here (no nvcc, no
triton) are listed. The exit status is 1 when a kernel does not compile or spills.

Example:
    python tools/check_gpu_kernels.py [operator ...]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

ARCHITECTURES = (80, 90)
PTXAS = re.compile(
    r"Function properties for (\S+)\s.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


def main() -> int:
    """Check the kernels; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ops", nargs="*", help="names of operators (default: all)")
    args = parser.parse_args()

    import mmattn.ops  # noqa: F401  (registers the operators)
    from mmattn.ops import OPERATORS, build

    failed = 0
    for op in args.ops or sorted(OPERATORS):
        if op not in OPERATORS:
            parser.error(f"unknown operator {op!r}; there are {', '.join(sorted(OPERATORS))}")
        failed += check_cuda(op, build) if op in build.operators("cuda") else 0
        names = {backend.name for backend in OPERATORS[op].backends}
        failed += check_triton(op) if "triton" in names else 0
    print(f"{failed} kernels failed" if failed else "no kernel failed")
    return 1 if failed else 0


def check_cuda(op: str, build) -> int:
    """Compile an operator's CUDA sources; returns the number of failures."""
    if build.nvcc() is None:
        print(f"{op:<34} cuda    not checked: no nvcc")
        return 0
    failed = 0
    for architecture in ARCHITECTURES:
        library = build.Library(op, "cuda", str(architecture))
        with tempfile.TemporaryDirectory() as folder:
            line = build.command(library, Path(folder) / "library.so", ["-Xptxas=-v"])
            done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode:
            print(f"{op:<34} cuda    sm_{architecture} does not compile\n{done.stderr[-3000:]}")
            failed += 1
            continue
        found = [
            (name, int(registers), int(stores) + int(loads))
            for name, stores, loads, registers in PTXAS.findall(done.stdout + done.stderr)
        ]
        failed += report(op, "cuda", architecture, found)
    return failed


def check_triton(op: str) -> int:
    """Compile an operator's Triton kernels; returns the number of failures."""
    import importlib
    import importlib.util

    if importlib.util.find_spec("triton") is None:
        print(f"{op:<34} triton  not checked: triton is not installed")
        return 0
    module = importlib.import_module(f"mmattn.ops.{op}.triton_kernels")
    if not hasattr(module, "ahead_of_time"):
        print(f"{op:<34} triton  not checked: no ahead_of_time() in {module.__name__}")
        return 0
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    failed = 0
    for architecture in ARCHITECTURES:
        found = []
        for kernel, types, constants in module.ahead_of_time():
            source = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constants)
            name = f"{kernel.__name__} {next(iter(types.values()))}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
            except Exception as error:
                print(f"{op:<34} triton  sm_{architecture} {name}: {error}")
                failed += 1
                continue
            with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                Path(file.name).write_bytes(compiled.asm["cubin"])
                line = [str(tool), "--dump-resource-usage", file.name]
                said = subprocess.run(line, capture_output=True, text=True).stdout
            registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", said).groups()
            found.append((name, int(registers), int(stack)))
        failed += report(op, "triton", architecture, found)
    return failed


def report(op: str, backend: str, architecture: int, found: list[tuple[str, int, int]]) -> int:
    """Print one line for some kernels, and one for each that spills; returns how many do."""
    spilling = [(name, size) for name, _, size in found if size]
    most = max((registers for _, registers, _ in found), default=0)
    state = f"{len(spilling)} SPILL" if spilling else "none spills"
    print(
        f"{op:<34} {backend:<7} sm_{architecture}  {len(found):>3} kernels, "
        f"up to {most:>3} registers, {state}"
    )
    for name, size in spilling:
        print(f"    {size} bytes spilled by {name}")
    return len(spilling)


if __name__ == "__main__":
    sys.exit(main())
