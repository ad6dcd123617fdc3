"""Names beside an exported file: the report of its check, and the place of a file that failed it.

A file under its own name has passed its check; one that did not is renamed, so that no command
takes it for a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmattn.errors import ExportError

#: Added to the name of a file that did not pass its check.
FAILED = ".failed"
_ENDINGS = (".onnx", ".xml", ".bin", ".int8")  # the last one stands before the others


def parity_path(exported_file: str | Path) -> Path:
    """Return the path of the report on an exported file and on those made from it.

    >>> parity_path("runs/detector.int8.onnx").as_posix()
    'runs/detector.parity.json'
    """
    path = Path(exported_file)
    name = path.name.removesuffix(FAILED)
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return path.with_name(f"{name}.parity.json")


def set_aside(files: Iterable[Path]) -> str:
    """Rename files that did not pass their check, and return a sentence that says so."""
    renamed = []
    for file in files:
        if file.is_file():
            renamed.append(file.replace(file.with_name(file.name + FAILED)))
    if not renamed:
        return ""
    verb = "is" if len(renamed) == 1 else "are"
    return f"What was written {verb} now {', '.join(map(str, renamed))}: no command uses it."


def refuse_failed(path: str | Path) -> None:
    """Refuse a file that its export set aside.

    Raises:
        ExportError: Its name says that it did not pass its check.
    """
    if str(path).endswith(FAILED):
        raise ExportError(
            f"{path} did not pass the check of its export: it computes something else than the "
            f"model, or was never compared. {parity_path(path)} has the numbers; export the "
            "checkpoint again"
        )
