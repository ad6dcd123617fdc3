"""The file behind a checkpoint that a command or a config names."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from .licences import ask_in_terminal
from .names import entry_name
from .pull import pull_weights

_logger = logging.getLogger(__name__)


def local_checkpoint(
    checkpoint: str | os.PathLike[str], say: Callable[[str], None] = _logger.info
) -> str:
    """Return the file of a checkpoint; weights by name are fetched if they are not here.

    Args:
        checkpoint: A path, ``weights://NAME`` or ``NAME``. Other addresses come back as they are.
        say: Called with lines about what happens, the last of which names the file, its digest and
            where it came from.

    Raises:
        MMAttnError: The weights cannot be had; see ``pull_weights``.
    """
    name = entry_name(str(checkpoint))
    if name is None:
        return str(checkpoint)
    pulled = pull_weights(name, ask=ask_in_terminal(), say=say)
    say(f"Weights {pulled}")
    return str(pulled.path)


def default_output(checkpoint: str, out: str | None, suffix: str) -> str | None:
    """Return where a command writes what it makes of a checkpoint: weights by name into ``.``.

    Args:
        checkpoint: As it was given.
        out: The option; it holds where it is given.
        suffix: Ending of the file, such as ``.onnx``.

    Returns:
        None where the file belongs beside the checkpoint.
    """
    name = entry_name(checkpoint) if out is None else None
    return str(Path(name + suffix)) if name else out
