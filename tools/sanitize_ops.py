"""Run the operators' tests on CPU kernels that are built with a sanitizer.

Builds every C++ kernel with AddressSanitizer (reads and writes out of bounds) or
UndefinedBehaviorSanitizer (overflows, misaligned access) into a folder of its own, and runs the
tests that put the kernels under strain: random calls, sizes, layouts, dtypes. Linux with GCC.

Examples:
    python tools/sanitize_ops.py                       both sanitizers, all operators
    python tools/sanitize_ops.py address -- -k depthwise
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAGS = {
    "address": "-fsanitize=address -fno-omit-frame-pointer -g -O1",
    "undefined": "-fsanitize=undefined -fno-sanitize-recover=undefined -g -O1",
}
LIBRARY = {"address": "libasan.so", "undefined": "libubsan.so"}
TESTS = "cpp and (random or float64 or layout or gradient or dtype)"


def main() -> int:
    """Run the sanitizers; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sanitizer", nargs="?", choices=list(FLAGS), help="sanitizer to run (default: both)"
    )
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    args = parser.parse_args()

    import mmattn  # noqa: F401
    from mmattn.ops import build

    if build.cxx() is None:
        print("there is no C++ compiler: nothing to sanitize")
        return 2
    status = 0
    for name in [args.sanitizer] if args.sanitizer else list(FLAGS):
        print(f"==> {name}")
        with tempfile.TemporaryDirectory(prefix="mmattn-sanitize-") as folder:
            status |= run(name, Path(folder), build.cxx(), args.pytest)
    return status


def run(name: str, folder: Path, compiler: str, pytest_arguments: list[str]) -> int:
    """Build with one sanitizer and test."""
    env = os.environ | {"MMATTN_CXXFLAGS": FLAGS[name], "MMATTN_OPS_CACHE": str(folder)}
    built = subprocess.run([sys.executable, "-m", "mmattn.ops", "build"], env=env, cwd=ROOT)
    if built.returncode:
        return built.returncode
    # The C++ library too, or the sanitizer would not know how exceptions are thrown.
    preloaded = [
        subprocess.run(
            [compiler, f"-print-file-name={library}"], capture_output=True, text=True
        ).stdout.strip()
        for library in (LIBRARY[name], "libstdc++.so.6")
    ]
    env |= {
        "LD_PRELOAD": " ".join(preloaded),
        # Python and torch keep memory until the end on purpose.
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
    }
    # What a sanitizer says before it ends the process must not be captured.
    options = ["-q", "-p", "no:cacheprovider", "-n", "0", "--capture=sys"]
    line = [sys.executable, "-m", "pytest", *options, "tests/ops"]
    tests = pytest_arguments if "-k" in pytest_arguments else ["-k", TESTS, *pytest_arguments]
    return subprocess.run([*line, *tests], env=env, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
