"""Read a file as JSON, and say where it is broken."""

from __future__ import annotations

import json
import os
from typing import Any

from mmattn.errors import DataError


def read_json(path: str) -> Any:
    """Return the content of a JSON file, with or without a byte-order mark.

    Raises:
        DataError: It is not JSON, with the line and the character; or it cannot be read as text.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        size = os.path.getsize(path)
        raise DataError(
            f"{path} is not valid JSON ({error}; {size} bytes): it may have been cut off. Export "
            "or copy it again"
        ) from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}. Export or copy it again") from error
