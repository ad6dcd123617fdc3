"""Compile the operators' C++ and CUDA sources into libraries that torch can load.

One library per operator, device kind and instruction set, for instance
``depthwise_conv2d-cpp-avx512-0f3c….so``. The sources use LibTorch's stable ABI and never Python's:
a library serves torch 2.10 and every later release, under every Python. Its name carries a hash
of all that went into it: a changed source simply finds no library until it is built again.

Libraries are looked for in ``_lib/`` beside this file (where a wheel brings them), then in the
user's cache (where ``python -m mmattn.ops build`` puts them; ``MMATTN_OPS_CACHE`` moves it), so an
installation that cannot be written to works too.

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
    """A library could not be built; the message holds the compiler's words."""


@dataclass(frozen=True)
class Library:
    """What to build: the sources of one operator, for one device kind and instruction set."""

    op: str
    kind: str  # "cpp" or "cuda"
    variant: str

    @property
    def sources(self) -> list[Path]:
        """The files that are compiled."""
        return sorted((ROOT / self.op / "csrc").glob({"cpp": "*.cpp", "cuda": "*.cu"}[self.kind]))

    @property
    def flags(self) -> list[str]:
        """Compiler flags that change the result."""
        flags = [*_COMMON, f"-DTORCH_TARGET_VERSION={ABI_TARGET}", f"-I{ROOT / 'csrc'}"]
        if self.kind == "cpp":
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
        """The library's name, which changes whenever a source, a header or a flag does."""
        digest = hashlib.sha256()
        folders = (ROOT / "csrc", ROOT / self.op / "csrc")
        for file in sorted(f for folder in folders for f in folder.glob("*") if f.is_file()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
        flags = (flag for flag in self.flags if not flag.startswith("-I"))
        digest.update(" ".join([*flags, sys.platform, platform.machine()]).encode())
        return f"{self.op}-{self.kind}-{self.variant}-{digest.hexdigest()[:16]}.so"


@dataclass(frozen=True)
class Outcome:
    """What became of one library: a path, or the reason why there is none."""

    library: Library
    path: Path | None
    seconds: float
    error: str = ""


def operators(kind: str) -> list[str]:
    """Names of the operators that have sources of this kind."""
    pattern = {"cpp": "*/csrc/*.cpp", "cuda": "*/csrc/*.cu"}[kind]
    return sorted({file.parent.parent.name for file in ROOT.glob(pattern)})


def cache_directory() -> Path:
    """Where ``build`` puts libraries."""
    if "MMATTN_OPS_CACHE" in os.environ:
        return Path(os.environ["MMATTN_OPS_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mmattn" / "ops"


def cpu_variants(capability: str | None = None) -> list[str]:
    """Instruction sets, best first: those that a CPU can run, or all that are worth building.

    Args:
        capability: What ``torch.backends.cpu.get_cpu_capability()`` says, or None for all.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["generic"]
    return {"AVX512": ["avx512", "avx2"], "AVX2": ["avx2"], None: ["avx512", "avx2"]}.get(
        capability, []
    )


def cuda_variant() -> str:
    """Compute capabilities, e.g. ``80-90``; ``MMATTN_CUDA_ARCHS="90 120"`` replaces them."""
    return "-".join(os.environ.get("MMATTN_CUDA_ARCHS", " ".join(_CUDA_ARCHITECTURES)).split())


@cache
def find(op: str, kind: str, variants: tuple[str, ...]) -> Path | None:
    """The built library that suits, or None. Call ``find.cache_clear()`` after a build."""
    for variant in variants:
        library = Library(op, kind, variant)
        if not library.sources:
            continue
        for directory in (EMBEDDED, cache_directory()):
            if (directory / library.file_name).is_file():
                return directory / library.file_name
    return None


def cxx() -> str | None:
    """The C++ compiler: ``$CXX``, or the first that is found."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next(filter(None, map(shutil.which, names)), None)


def nvcc() -> str | None:
    """The CUDA compiler: ``$CUDACXX``, the one on the path, or that of ``$CUDA_HOME``."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    names = [os.environ.get("CUDACXX", ""), "nvcc", f"{home}/bin/nvcc"]
    return next(filter(None, map(shutil.which, filter(None, names))), None)


def torch_directory() -> Path | None:
    """The folder of the installed torch, which is not imported."""
    spec = importlib.util.find_spec("torch")
    return Path(next(iter(spec.submodule_search_locations))) if spec else None


def cuda_wanted() -> bool:
    """Whether CUDA sources should be built without being asked: nvcc, a CUDA torch and a GPU.

    ``MMATTN_CUDA=1`` forces them (for machines that only build), ``MMATTN_CUDA=0`` leaves them out.
    """
    if "MMATTN_CUDA" in os.environ:
        return os.environ["MMATTN_CUDA"] not in ("", "0")
    folder = torch_directory()
    with_cuda = folder is not None and any(folder.glob("lib/libtorch_cuda.so"))
    gpu = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    return nvcc() is not None and with_cuda and gpu


def command(library: Library, output: Path, extra: Sequence[str] = ()) -> list[str]:
    """The compiler's command line.

    Raises:
        BuildError: There is no compiler, or no torch to build against.
    """
    compiler = cxx() if library.kind == "cpp" else nvcc()
    if compiler is None:
        wanted = "a C++ compiler (or set CXX)" if library.kind == "cpp" else "nvcc (or set CUDACXX)"
        raise BuildError(f"no compiler: install {wanted}")
    folder = torch_directory()
    if folder is None:
        raise BuildError("torch is not installed in this Python, and its headers are needed")
    # Links to libtorch by name alone: the process has torch loaded already. -w in torch's headers.
    include = ["-isystem", str(folder / "include")]
    link = [f"-L{folder / 'lib'}", "-ltorch_cpu"]
    if sys.platform == "darwin":
        link = ["-undefined", "dynamic_lookup"]
    if library.kind == "cuda":
        link.append("-ltorch_cuda")
    sources = [str(source) for source in library.sources]
    shared = ["-shared", *library.flags, *extra, *include, *sources, "-o", str(output)]
    return [compiler, *shared, *link]


def compile_library(library: Library, directory: Path, *, force: bool = False) -> Outcome:
    """Build one library into a directory, unless it is there; failures are in the outcome."""
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
    kinds: Iterable[str] | None = None,
    jobs: int | None = None,
    force: bool = False,
) -> list[Outcome]:
    """Build what is missing, in parallel.

    Args:
        directory: Where to; the user's cache by default.
        ops: Names of operators; all by default.
        kinds: ``"cpp"`` and ``"cuda"``; by default the first, and the second where
            ``cuda_wanted()`` says so.
        jobs: Compilers that run at once; as many as there are CPUs by default.
        force: Build also what is there already.
    """
    kinds = list(kinds) if kinds is not None else ["cpp", *(["cuda"] if cuda_wanted() else [])]
    libraries = [
        Library(op, kind, variant)
        for kind in kinds
        for op in operators(kind)
        if ops is None or op in set(ops)
        for variant in (cpu_variants() if kind == "cpp" else [cuda_variant()])
    ]
    directory = directory or cache_directory()
    jobs = jobs or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        outcomes = list(
            pool.map(lambda each: compile_library(each, directory, force=force), libraries)
        )
    find.cache_clear()
    return outcomes
