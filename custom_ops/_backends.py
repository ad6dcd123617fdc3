"""The ways to run an operator: plain torch, a compiled library, Triton kernels.

A backend names the devices and dtypes it serves, says why it cannot run here, and has one callable
per function of the operator (``forward``, ``backward``, ...), with that function's schema. A call
that it cannot serve goes to the next backend of the operator; plain torch serves every call.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch

from . import build

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Backend:
    """One way to run an operator.

    Args:
        name: Name that ``use_backend`` takes.
        devices: Device types that are served; none means all.
        dtypes: Dtypes that are served; none means all.
        nondeterministic: Functions whose result can differ from run to run; they do not run under
            ``torch.use_deterministic_algorithms(True)``.
        refuses: Function from a case to the reason why it cannot be served, or None.
        yields: Function from a case to the reason why another backend should serve it, or None. It
            is not called when the backend is forced.

    Attributes:
        compiled: Whether the backend's functions come from a library that has to be built.
    """

    compiled: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        *,
        devices: Sequence[str] = (),
        dtypes: Sequence[torch.dtype] = (),
        nondeterministic: Sequence[str] = (),
        refuses: Callable[[Any], str | None] | None = None,
        yields: Callable[[Any], str | None] | None = None,
    ) -> None:
        self.name = name
        self.devices = tuple(devices)
        self.dtypes = tuple(dtypes)
        self.nondeterministic = frozenset(nondeterministic)
        self.refuses = refuses
        self.yields = yields
        self.op = ""
        self.package = ""

    def bind(self, op: str, package: str) -> None:
        """Tell the backend its operator's name and package."""
        self.op, self.package = op, package

    def serves(self, device: str) -> bool:
        """Return whether the backend is meant for a device type."""
        return not self.devices or device in self.devices

    def automatic(self, device: str) -> bool:
        """Return whether the backend may be chosen without being forced."""
        return True

    def missing(self) -> str | None:
        """Return why the backend is not there (not built, not installed), or None when it is."""
        return None

    def function(self, name: str) -> Callable | None:
        """Return the callable of one function of the operator, or None if there is none."""
        raise NotImplementedError

    def require_function(self, name: str) -> Callable:
        """Return the callable of one function of the operator.

        Raises:
            LookupError: There is none.
        """
        function = self.function(name)
        if function is None:
            raise LookupError(f"{self.op}: backend {self.name!r} has no {name}")
        return function

    def reset(self) -> None:
        """Look for the backend again, after a build."""

    def why_not(
        self, function: str, device: str, dtype: torch.dtype, case: Hashable, deterministic: bool
    ) -> str | None:
        """Return why the backend cannot serve a call, or None when it can."""
        if not self.serves(device):
            return f"does not serve {device}"
        if self.dtypes and dtype not in self.dtypes:
            return f"does not serve {str(dtype).removeprefix('torch.')}"
        if (reason := self.missing()) is not None:
            return reason
        if self.function(function) is None:
            return f"has no {function}"
        if deterministic and function in self.nondeterministic:
            return f"its {function} is not deterministic"
        return self.refuses(case) if self.refuses else None


class Reference(Backend):
    """Plain torch: the operator's ``reference.py``. Runs everywhere, and is the tests' oracle."""

    def __init__(self, module: ModuleType | None = None) -> None:
        super().__init__("reference")
        self.module = module

    def function(self, name: str) -> Callable | None:
        if self.module is None:
            self.module = importlib.import_module(f"{self.package}.reference")
        return getattr(self.module, name, None)


class Compiled(Backend):
    """A library built from the operator's ``csrc``: ``*.cpp`` as ``cpp``, ``*.cu`` as ``cuda``.

    It registers its functions in torch as ``mmattn_cpp::<op>`` (or ``mmattn_cuda::<op>``) for
    ``forward`` and ``mmattn_cpp::<op>_<function>`` for the others.
    """

    compiled = True

    def __init__(self, name: str, **options) -> None:
        options.setdefault("devices", ({"cpp": "cpu", "cuda": "cuda"}[name],))
        super().__init__(name, **options)
        self._state: str | None = "unknown"

    def missing(self) -> str | None:
        if self._state == "unknown":
            self._state = self._load()
        return self._state

    def reset(self) -> None:
        if self._state is not None:
            self._state = "unknown"

    @property
    def path(self) -> Path | None:
        """Library that suits this machine, or None when none is built."""
        if self.name == "cpp":
            variants = build.cpu_variants(torch.backends.cpu.get_cpu_capability())
        else:
            variants = [build.cuda_variant()]
        return build.find(self.op, self.name, tuple(variants))

    def _load(self) -> str | None:
        path = self.path
        if path is None:
            return f"not built (run `{build.BUILD_COMMAND}`)"
        try:
            torch.ops.load_library(path)
        except OSError as error:
            return f"{path.name} does not load: {error}"
        return None

    def function(self, name: str) -> Callable | None:
        suffix = "" if name == "forward" else f"_{name}"
        packet = getattr(getattr(torch.ops, f"mmattn_{self.name}"), f"{self.op}{suffix}", None)
        return packet.default if packet is not None else None


class Triton(Backend):
    """Triton kernels: a module of the operator's folder, imported at first use.

    They run on CUDA, and on the CPU in Triton's interpreter when ``TRITON_INTERPRET=1`` is set
    before the first use. That is slow, but tests a kernel where there is no GPU.
    """

    def __init__(self, module: str = "triton_kernels", **options) -> None:
        options.setdefault("devices", ("cuda",))
        super().__init__("triton", **options)
        self.module = module

    def serves(self, device: str) -> bool:
        return super().serves(device) or (device == "cpu" and _interpreted())

    def automatic(self, device: str) -> bool:
        return device != "cpu"

    def missing(self) -> str | None:
        return None if importlib.util.find_spec("triton") else "triton is not installed"

    def function(self, name: str) -> Callable | None:
        return getattr(importlib.import_module(f"{self.package}.{self.module}"), name, None)


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET", "0") == "1"
