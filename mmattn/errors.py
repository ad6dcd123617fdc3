"""The errors that mmattn raises for bad input: one tree, each with its tools' exit code.

A message names three things: what was found, where, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MMAttnError(Exception):
    """Base of the errors raised for bad input; commands print them without a traceback."""

    exit_code = 1


class ConfigError(MMAttnError, ValueError):
    """Raised for an invalid config or command line."""

    exit_code = 2


class OutdatedConfigError(ConfigError):
    """Raised for a config of mmdet 2.x or mmseg 0.x; the message says how to upgrade it."""


class MissingOpError(MMAttnError, NotImplementedError):
    """Raised for an operator that this installation lacks; the message says how to get it."""

    exit_code = 3


class PluginError(MMAttnError, RuntimeError):
    """Raised when a plugin is asked for that this installation cannot import."""

    exit_code = 3


class MissingPackageError(MMAttnError, ImportError):
    """Raised for an optional package that a config needs; the message says how to install it."""

    exit_code = 3


class StorageError(MMAttnError, OSError):
    """Raised for a file that cannot be written: a full disk, a quota, a read-only folder.

    ``errno`` is the system's.
    """

    exit_code = 3

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple:
        return type(self), (self.args[0], self.errno)


class DataError(MMAttnError, ValueError):
    """Raised for a dataset, image or annotation that is missing, unreadable or inconsistent."""

    exit_code = 4


class NumericsError(MMAttnError, FloatingPointError):
    """Raised for a loss or gradient that is not finite."""

    exit_code = 5


class CheckpointError(MMAttnError, RuntimeError):
    """Raised for weights that cannot be read safely, or do not belong to the model."""

    exit_code = 6


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """Raised for a file of weights that does not exist, for which mmengine has Python's error."""


class MissingPrefixError(CheckpointError, AssertionError):
    """Raised for weights without the prefix that is asked for, which mmengine asserts to be."""


class DownloadError(CheckpointError):
    """Raised for weights that no source gives: no network, or no file there."""


class DigestError(CheckpointError):
    """Raised for weights whose SHA-256 is not the one that is known of them."""


class LicenceError(CheckpointError):
    """Raised for weights whose licence has to be accepted first, and nobody can be asked."""


class ExportError(MMAttnError, RuntimeError):
    """Raised for a model that cannot be exported, or whose exported file computes otherwise."""

    exit_code = 7


class RankError(MMAttnError, RuntimeError):
    """Raised when another process of the same run has died, or makes no progress."""

    exit_code = 8


class Preempted(MMAttnError):
    """Raised when a signal ended a training after a checkpoint was written; it can be resumed."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether ``error`` is Ctrl-C, or was raised because of it.

    mmengine makes a SyntaxError of one that comes while it formats a config, which takes seconds.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def one_line(error: BaseException) -> str:
    """Return the type and the text of somebody else's error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def reason_of(error: BaseException) -> str:
    """Return the text of somebody else's error in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def did_you_mean(word: str, known: Iterable[str], limit: int = 3) -> str:
    """Return ``" Did you mean 'a' or 'b'?"`` for the closest names in ``known``, else ``""``."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=limit, cutoff=0.6)
    if not near:  # capitals are easily mistaken: mIuO for mIoU
        lower = {name.lower(): name for name in names}
        close = difflib.get_close_matches(word.lower(), list(lower), n=limit, cutoff=0.6)
        near = [lower[name] for name in close]
    if not near:
        return ""
    return " Did you mean " + " or ".join(repr(name) for name in near) + "?"
