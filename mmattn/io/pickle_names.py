"""Find what a pickle would import, by reading its instructions without following them."""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import BinaryIO


def names_in_pickle(file: BinaryIO) -> list[str]:
    """List the classes and functions that a torch file or a plain pickle would import.

    Reads as far as the instructions make sense: for messages, not for judging whether a file is
    safe. torch's own names and ordered dictionaries, which every checkpoint has, are left out.

    Returns:
        Dotted names in order of appearance, without repetition.
    """
    file.seek(0)
    content = file.read()
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inner = [name for name in archive.namelist() if name.endswith("data.pkl")]
            content = archive.read(inner[0]) if inner else b""
    names: dict[str, None] = {}
    strings: list[str] = []
    try:
        for instruction, argument, _ in pickletools.genops(content):
            if instruction.name in ("GLOBAL", "INST") and isinstance(argument, str):
                names[argument.replace(" ", ".")] = None
            elif instruction.name == "STACK_GLOBAL":
                names[".".join(strings[-2:])] = None
            elif isinstance(argument, str):
                strings.append(argument)
    except Exception:  # a damaged or foreign file; what was found so far is still of use
        pass
    return [name for name in names if not name.startswith(("torch.", "collections.OrderedDict"))]
