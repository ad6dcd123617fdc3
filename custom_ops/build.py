"""Compile the operators' C++ and CUDA sources into libraries that torch can load.

One library per operator, language and instruction set, for instance
``depthwise_conv2d-cpp-avx512-0f3c….so``. The sources use LibTorch's stable ABI and never Python's:
a library serves torch 2.10 and every later release, under every Python. Its name holds a hash
of sources, headers and flags: after a change no library is found until it is built again.

Libraries are looked for in ``_lib/`` beside this file (where a wheel brings them), then in the
user's cache (where ``python -m mmattn.ops build`` puts them; ``MMATTN_OPS_CACHE`` moves it), so an
read-only installation works too.

This file needs the standard library alone: torch is located, not imported, so that ``setup.py``
can run it by path.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent
EMBEDDED = ROOT / "_lib"
ABI_TARGET = "0x020a000000000000"  # torch 2.10, the oldest release that is supported
BUILD_COMMAND = "python -m mmattn.ops build"

# -ffast-math is left out on purpose: it would let the compiler assume that no value is NaN or
# infinite. The flags kept are those that vectorised reductions and square roots need.
_COMMON = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
)
_X86 = {
    "avx512": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "avx2": ("-march=x86-64-v3",),
}
_CUDA_ARCHITECTURES = ("80", "90")


class BuildError(RuntimeError):
    """Raised when a library cannot be built; the message holds the compiler's output."""


@dataclass(frozen=True)
class Library:
    """A library to build: the sources of one operator in one language, for one instruction set."""

    op: str
    language: str  # "cpp" or "cuda"
    variant: str

    @property
    def sources(self) -> list[Path]:
        """Files that are compiled."""
        return sorted(
            (ROOT / self.op / "csrc").glob({"cpp": "*.cpp", "cuda": "*.cu"}[self.language])
        )

    @property
    def flags(self) -> list[str]:
        """Compiler flags that change the result."""
        flags = [*_COMMON, f"-DTORCH_TARGET_VERSION={ABI_TARGET}", f"-I{ROOT / 'csrc'}"]
        if self.language == "cpp":
            more = shlex.split(os.environ.get("MMATTN_CXXFLAGS", ""))  # for instance sanitizers
            return [*flags, *_X86.get(self.variant, ()), *more]
        host = ",".join(flag for flag in _COMMON if flag not in ("-std=c++17", "-O3"))
        flags = ["-std=c++17", "-O3", f"-Xcompiler={host}", *flags[len(_COMMON) :]]
        flags += ["-DUSE_CUDA", "--expt-relaxed-constexpr"]
        newest = self.variant.split("-")[-1]
        for arch in self.variant.split("-"):
            flags.append(f"-gencode=arch=compute_{arch},code=sm_{arch}")
        return [*flags, f"-gencode=arch=compute_{newest},code=compute_{newest}"]

    @property
    def file_name(self) -> str:
        """File name, which changes whenever a source, a header or a flag does."""
        digest = hashlib.sha256()
        folders = (ROOT / "csrc", ROOT / self.op / "csrc")
        for file in sorted(f for folder in folders for f in folder.glob("*") if f.is_file()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
        flags = (flag for flag in self.flags if not flag.startswith("-I"))
        digest.update(" ".join([*flags, sys.platform, platform.machine()]).encode())
        return f"{self.op}-{self.language}-{self.variant}-{digest.hexdigest()[:16]}.so"


@dataclass(frozen=True)
class Outcome:
    """Result of building one library: its path, or the error."""

    library: Library
    path: Path | None
    seconds: float
    error: str = ""


def operators(language: str) -> list[str]:
    """Return the names of the operators that have sources in a language, "cpp" or "cuda"."""
    pattern = {"cpp": "*/csrc/*.cpp", "cuda": "*/csrc/*.cu"}[language]
    return sorted({file.parent.parent.name for file in ROOT.glob(pattern)})


def cache_directory() -> Path:
    """Return the default folder of ``build``: ``$MMATTN_OPS_CACHE`` or the user's cache."""
    if "MMATTN_OPS_CACHE" in os.environ:
        return Path(os.environ["MMATTN_OPS_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mmattn" / "ops"


def cpu_variants(capability: str | None = None) -> list[str]:
    """Return instruction sets, best first: those that a CPU can run, or all that are built.

    Args:
        capability: Result of ``torch.backends.cpu.get_cpu_capability()``; None for all sets.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["generic"]
    return {"AVX512": ["avx512", "avx2"], "AVX2": ["avx2"], None: ["avx512", "avx2"]}.get(
        capability, []
    )


def cuda_variant() -> str:
    """Return compute capabilities, e.g. ``80-90``; ``MMATTN_CUDA_ARCHS="90 120"`` replaces them."""
    return "-".join(os.environ.get("MMATTN_CUDA_ARCHS", " ".join(_CUDA_ARCHITECTURES)).split())


@cache
def find(op: str, language: str, variants: tuple[str, ...]) -> Path | None:
    """Return the first built library of these variants, or None.

    Call ``find.cache_clear()`` after a build.
    """
    for variant in variants:
        library = Library(op, language, variant)
        if not library.sources:
            continue
        for directory in (EMBEDDED, cache_directory()):
            if (directory / library.file_name).is_file():
                return directory / library.file_name
    return None


def cxx() -> str | None:
    """Return the C++ compiler: ``$CXX``, or the first that is found."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next(filter(None, map(shutil.which, names)), None)


def nvcc() -> str | None:
    """Return the CUDA compiler: ``$CUDACXX``, the one on the path, or that of ``$CUDA_HOME``."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    names = [os.environ.get("CUDACXX", ""), "nvcc", f"{home}/bin/nvcc"]
    return next(filter(None, map(shutil.which, filter(None, names))), None)


def torch_directory() -> Path | None:
    """Return the folder of the installed torch, without importing it."""
    spec = importlib.util.find_spec("torch")
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(folders))) if folders else None


def cuda_wanted() -> bool:
    """Return whether CUDA sources are built by default: with nvcc, a CUDA build of torch and a GPU.

    ``MMATTN_CUDA=1`` forces them (for machines that only build), ``MMATTN_CUDA=0`` leaves them out.
    """
    if "MMATTN_CUDA" in os.environ:
        return os.environ["MMATTN_CUDA"] not in ("", "0")
    folder = torch_directory()
    with_cuda = folder is not None and any(folder.glob("lib/libtorch_cuda.so"))
    gpu = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    return nvcc() is not None and with_cuda and gpu


def command(library: Library, output: Path, extra: Sequence[str] = ()) -> list[str]:
    """Return the command line of the compiler.

    Args:
        library: Library to build.
        output: Path of the file to write.
        extra: Further flags of the compiler.

    Raises:
        BuildError: There is no compiler, or no torch to build against.
    """
    compiler = cxx() if library.language == "cpp" else nvcc()
    if compiler is None:
        name = (
            "a C++ compiler (or set CXX)" if library.language == "cpp" else "nvcc (or set CUDACXX)"
        )
        raise BuildError(f"no compiler: install {name}")
    folder = torch_directory()
    if folder is None:
        raise BuildError("torch is not installed in this Python; its headers are needed")
    # Linked to libtorch by name alone, since a process that loads the library has loaded torch.
    # -isystem silences warnings in torch's headers.
    include = ["-isystem", str(folder / "include")]
    link = [f"-L{folder / 'lib'}", "-ltorch_cpu"]
    if sys.platform == "darwin":
        link = ["-undefined", "dynamic_lookup"]
    if library.language == "cuda":
        link.append("-ltorch_cuda")
    sources = [str(source) for source in library.sources]
    shared = ["-shared", *library.flags, *extra, *include, *sources, "-o", str(output)]
    return [compiler, *shared, *link]


def compile_library(library: Library, directory: Path, *, force: bool = False) -> Outcome:
    """Build one library into a directory, unless it is there; an error is in the outcome."""
    start = time.perf_counter()
    path = directory / library.file_name
    if path.is_file() and not force:
        return Outcome(library, path, 0.0)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Beside its final place, so that the last step is an atomic rename.
        with tempfile.TemporaryDirectory(dir=directory, prefix=".build-") as scratch:
            output = Path(scratch) / library.file_name
            done = subprocess.run(
                command(library, output), capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise BuildError((done.stderr or done.stdout).strip()[-4000:])
            os.replace(output, path)
    except (BuildError, OSError) as error:
        return Outcome(library, None, time.perf_counter() - start, str(error))
    return Outcome(library, path, time.perf_counter() - start)


def build(
    directory: Path | None = None,
    *,
    ops: Iterable[str] | None = None,
    languages: Iterable[str] | None = None,
    jobs: int | None = None,
    force: bool = False,
) -> list[Outcome]:
    """Build the libraries that are missing, in parallel.

    Args:
        directory: Folder for the libraries; the user's cache by default.
        ops: Names of the operators; all by default.
        languages: ``"cpp"``, ``"cuda"`` or both; by default ``"cpp"``, and ``"cuda"`` where
            ``cuda_wanted()``.
        jobs: Number of compilers that run at once; by default the number of CPUs.
        force: Whether to build libraries again that are there already.

    Returns:
        One outcome for each library, also for those that were there already.
    """
    if languages is None:
        languages = ["cpp", "cuda"] if cuda_wanted() else ["cpp"]
    chosen = None if ops is None else set(ops)
    libraries = [
        Library(op, language, variant)
        for language in languages
        for op in operators(language)
        if chosen is None or op in chosen
        for variant in (cpu_variants() if language == "cpp" else [cuda_variant()])
    ]
    directory = directory or cache_directory()
    if not jobs:
        jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        outcomes = list(
            pool.map(lambda library: compile_library(library, directory, force=force), libraries)
        )
    find.cache_clear()
    return outcomes
