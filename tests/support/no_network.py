"""A process that must fetch nothing: a connection beyond this machine's own sockets fails."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any


def refusing(connect: Callable[..., Any]) -> Callable[..., Any]:
    """``socket.socket.connect`` that raises an OSError, except between processes (AF_UNIX)."""

    def refuse(self: socket.socket, address: Any) -> Any:
        if self.family == getattr(socket, "AF_UNIX", None):
            return connect(self, address)
        raise OSError(f"tried to reach the network: {address}")

    return refuse
