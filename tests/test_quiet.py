"""Promise: other packages are silent for a time, and say as much as before afterwards."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

import pytest

from mmattn.quiet import output_to, quiet


def test_loggers_and_warnings_are_silent_inside_and_as_before_afterwards(caplog) -> None:
    logger = logging.getLogger("noisy")
    logger.setLevel(logging.INFO)
    with pytest.raises(RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet("noisy", level=logging.WARNING, hide_warnings=True):
            logger.info("hidden")
            logger.warning("shown")
            warnings.warn("hidden", stacklevel=1)
            raise RuntimeError
    assert caplog.messages == ["shown"]
    assert logger.level == logging.INFO


def test_all_that_is_printed_goes_to_the_file(tmp_path: Path, capfd) -> None:
    for text in ("first", "second"):
        with output_to(tmp_path / "new/console.txt"):
            print(text)
            print(text, file=sys.stderr)
            os.write(2, f"{text}, compiled\n".encode())
    print("after")
    written = (tmp_path / "new/console.txt").read_text()
    assert all(word in written for word in ("first", "second", "first, compiled"))
    assert capfd.readouterr() == ("after\n", "")
