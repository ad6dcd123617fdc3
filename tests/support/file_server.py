"""A file server on the loopback that can cut, stall, redirect and refuse; nothing leaves it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What the server has, and what it was asked.

    Attributes:
        url: Address of the server.
        files: Content by path; paths that are not there are a 404. As a proxy it is asked by whole
            addresses.
        cuts: Bytes of an answer after which the connection is closed, by path; the first answers
            use them up.
        stalls: Paths that get headers and then nothing until the server is closed.
        redirects: Target by path.
        statuses: Status codes by path; the first answers use them up.
        headers: Further headers by path.
        slow: Seconds before an answer, by path.
        requests: Path and headers (lower case) of each request, in order.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    stalls: set[str] = field(default_factory=set)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def asked(self) -> list[str]:
        """Return the paths that were asked for, in order."""
        return [path for path, _ in self.requests]


@contextmanager
def serving(files: dict[str, bytes] | None = None) -> Iterator[FileServer]:
    """Run a server in a thread."""
    state = FileServer(files=dict(files or {}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path
            state.requests.append((path, {k.lower(): v for k, v in self.headers.items()}))
            state.closing.wait(state.slow.get(path, 0))
            if state.statuses.get(path):
                self._answer(state.statuses[path].pop(0), {})
            elif path in state.redirects:
                more = state.headers.get(path, {})
                self._answer(302, {"Location": state.redirects[path], **more})
            elif path in state.files:
                self._send(path, state.files[path])
            else:
                self._answer(404, {})

        def _answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": "0", **headers}.items():
                self.send_header(key, value)
            self.end_headers()

        def _send(self, path: str, content: bytes) -> None:
            tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
            start = 0
            ranged = self.headers.get("Range", "")
            if ranged and self.headers.get("If-Range", tag) == tag:
                start = int(ranged.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    return self._answer(416, {})
            headers = {"ETag": tag, "Content-Length": str(len(content) - start)}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_response(206 if start else 200)
            for key, value in {**headers, **state.headers.get(path, {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if path in state.stalls:
                self.wfile.flush()
                state.closing.wait(30)
                return None
            cut = state.cuts[path].pop(0) if state.cuts.get(path) else len(content)
            self.wfile.write(content[start : start + cut])
            return None

    return Handler
