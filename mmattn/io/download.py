"""Download one file over HTTP: resumed where it was cut, tried again, within the size expected.

The standard library does it, so that the proxies of the environment (``http_proxy``,
``https_proxy``, ``no_proxy``) hold. A token goes to the host that it is for, and to no other one
that an answer redirects to.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from mmattn.errors import StorageError, one_line

from .storage import storage_error

_CHUNK = 1 << 18
#: Answers that may be another one a moment later.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_AGENT = "mmattn"
#: What else helps where the file cannot be written.
_INSTEAD = "give another folder"
#: Variable that keeps mmattn from the network: 1.
OFFLINE = "MMATTN_OFFLINE"


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        seconds: Time without an answer, or without a further byte, that counts as failed.
        attempts: Number of tries.
        pause: Seconds before the second try; it doubles with each further one.
    """

    seconds: float = 30.0
    attempts: int = 4
    pause: float = 1.0


PATIENCE = Patience()


def offline() -> bool:
    """Return whether the user wants no network to be touched."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


class SourceError(Exception):
    """Raised where one source does not give a file; another one may.

    Attributes:
        reason: Why, in a few words.
        offline: Whether the server was not reached at all.
        refused: Whether it asks for an account (401, 403).
    """

    def __init__(self, reason: str, *, offline: bool = False, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.offline, self.refused = reason, offline, refused


class _CutError(Exception):
    """Raised for an answer that ended before its last byte."""


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but not from https to http, and takes tokens to no other host."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise SourceError(f"redirects from https to {after.scheme}")
        told = {key.lower(): value for key, value in headers.items()}
        # Its length and tag are those of the answer that redirects, not of the file.
        self.headers |= {key: value for key, value in told.items() if key.startswith("x-")}
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if new is not None and token and before[:2] == after[:2]:
            new.add_unredirected_header("Authorization", token)
        return new


def open_url(
    url: str, patience: Patience, headers: dict[str, str] | None = None, token: str | None = None
) -> tuple[HTTPResponse, dict[str, str]]:
    """Open an address.

    Returns:
        The answer, and its headers in lower case, with the ``x-`` ones of the redirects to it.
    """
    request = Request(url, headers={"User-Agent": _AGENT, **(headers or {})})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    redirects = _Redirects()
    response = build_opener(redirects).open(request, timeout=patience.seconds)
    own = {key.lower(): value for key, value in response.headers.items()}
    return response, {**redirects.headers, **own}


def download(
    url: str,
    part: Path,
    *,
    size: int | None = None,
    token: str | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    patience: Patience = PATIENCE,
) -> dict[str, str]:
    """Download an address into ``part``, going on with what an earlier try has left there.

    Args:
        url: Address.
        part: File to write; what it holds after an error is taken up by the next call.
        size: Bytes that are expected; a server that announces others is refused at once.
        token: Token of the host.
        progress: Called with the bytes so far and all bytes, which may not be known.
        patience: Limits of time.

    Returns:
        The headers of the answer, as ``open_url`` gives them.

    Raises:
        SourceError: The server does not give the file.
        StorageError: The file cannot be written.
    """
    pause = patience.pause
    last = SourceError("was not asked")
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(pause)
            pause *= 2
        try:
            headers = _transfer(url, part, size, token, progress, patience)
        except HTTPError as error:
            error.close()
            if error.code == 416:  # what is there is no beginning of the file
                part.unlink(missing_ok=True)
            elif error.code not in _PASSING:
                raise SourceError(f"HTTP {error.code}", refused=error.code in (401, 403)) from error
            last = SourceError(f"HTTP {error.code}")
        except URLError as error:
            reason = error.reason
            text = one_line(reason) if isinstance(reason, BaseException) else str(reason)
            last = SourceError(text, offline=True)
        except _CutError as error:
            last = SourceError(str(error))
        except StorageError:
            raise
        except (OSError, HTTPException) as error:
            last = SourceError(one_line(error), offline=isinstance(error, OSError))
        else:
            _state(part).unlink(missing_ok=True)
            return headers
    raise last


def _transfer(
    url: str,
    part: Path,
    size: int | None,
    token: str | None,
    progress: Callable[[int, int | None], None],
    patience: Patience,
) -> dict[str, str]:
    """Make one try; an exception leaves in ``part`` what has come."""
    start, validator = _resumable(url, part)
    ranged = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
    response, headers = open_url(url, patience, ranged, token)
    with response:
        if response.status != 206 or not _begins_at(headers, start):
            start = 0
        total = _total(headers, start)
        if size is not None and total is not None and total != size:
            raise SourceError(f"has {total:,} bytes where {size:,} are expected")
        _remember(part, url, headers)
        done = _write(response, part, start, size, lambda done: progress(done, total))
    if total is not None and done < total:
        raise _CutError(f"cut after {done:,} of {total:,} bytes")
    return headers


def _write(
    response: HTTPResponse,
    part: Path,
    start: int,
    size: int | None,
    progress: Callable[[int], None],
) -> int:
    done = start
    try:
        file = open(part, "ab" if start else "wb")  # noqa: SIM115
    except OSError as error:
        raise storage_error(error, part, size, instead=_INSTEAD) from error
    with file:
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if size is not None and done > size:
                raise SourceError(f"sends more than the {size:,} bytes that are expected")
            try:
                file.write(chunk)
            except OSError as error:
                raise storage_error(error, part, size, instead=_INSTEAD) from error
            progress(done)
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, part, size, instead=_INSTEAD) from error
    return done


def _state(part: Path) -> Path:
    """Return the file that says which address ``part`` is the beginning of."""
    return part.with_name(part.name + ".json")


def _resumable(url: str, part: Path) -> tuple[int, str]:
    """Return the bytes that are there of ``url``, and what the server called that version."""
    try:
        state = json.loads(_state(part).read_text(encoding="utf-8"))
        start, validator = part.stat().st_size, state["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""
    return (start, validator) if state.get("url") == url and validator else (0, "")


def _remember(part: Path, url: str, headers: dict[str, str]) -> None:
    etag = headers.get("etag", "")
    # A weak tag says nothing about bytes.
    validator = headers.get("last-modified", "") if etag.startswith("W/") or not etag else etag
    try:
        text = json.dumps({"url": url, "validator": validator})
        _state(part).write_text(text, encoding="utf-8")
    except OSError as error:
        raise storage_error(error, part, None, instead=_INSTEAD) from error


def _begins_at(headers: dict[str, str], start: int) -> bool:
    return headers.get("content-range", "").startswith(f"bytes {start}-")


def _total(headers: dict[str, str], start: int) -> int | None:
    length = headers.get("content-length", "")
    return start + int(length) if length.isdigit() else None
