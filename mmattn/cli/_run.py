"""Run a command: wrong input and Ctrl-C end in one line and an exit code, without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from mmattn.errors import MMAttnError, is_interrupt
from mmattn.given_words import command_line

#: Exit code of a command that Ctrl-C ended, as shells have it: 128 + SIGINT.
INTERRUPTED = 130
#: Exit code of a command whose output nobody reads any more, as in ``mmattn models | head``:
#: 128 + SIGPIPE.
UNREAD = 141


def run(command: Callable[[], int | None], *, if_interrupted: str = "") -> int:
    """Call ``command`` and return the exit code.

    Args:
        command: Function without arguments; it returns an exit code or None, which stands for 0.
        if_interrupted: How to go on after Ctrl-C, for the message.

    Returns:
        The exit code: the command's own, that of an ``MMAttnError``, 130 after Ctrl-C, or 141
        where the reader of a pipe has gone.
    """
    # OpenCV reads its limit of pixels once, when it is imported: that of mmattn's own reader, so
    # that mmcv's and mmseg's transforms refuse an image from its header as well.
    limit = os.environ.get("MMATTN_MAX_IMAGE_PIXELS", str(2**28))
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", limit)
    try:
        with command_line():
            code = command() or 0
        sys.stdout.flush()
        return code
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # What is still in the buffer would raise again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except (KeyboardInterrupt, SyntaxError) as error:
        if not is_interrupt(error):
            raise
        # A command that knows more about this very interruption says so in its text.
        detail = str(error) if isinstance(error, KeyboardInterrupt) else ""
        detail = detail or if_interrupted
        print(f"\nInterrupted{detail and '; '}{detail}.", file=sys.stderr)
        return INTERRUPTED
