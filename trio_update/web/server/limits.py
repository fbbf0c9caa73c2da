"""What a client may ask of the web server, and the same in Hypercorn's terms."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

from hypercorn.config import Config


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a client may ask of the server, in seconds and bytes."""

    keep_alive_seconds: float = 30.0
    """How long a connection may stay open between two requests, and before its first."""
    request_seconds: float = 20.0
    """From the first byte of a request to the last one of its body."""
    send_seconds: float = 10.0
    """How long a client may take nothing of what is sent to it; also the kernel's ``TCP_USER_TIMEOUT``."""
    linger_seconds: float = 1.0
    """How long a closing connection waits for its client to read the last words and to close too."""
    farewell_seconds: float = 1.0
    """At a stop: what the application has to close its sessions, and again for its own shutdown."""
    grace_seconds: float = 1.5
    """At a stop: what requests under way and WebSocket close handshakes have until they are cut."""
    head_bytes: int = 16 * 1024
    """Request line and headers together (431)."""
    body_bytes: int = 1024 * 1024
    """The body of a request, whether its length was announced or not (413)."""
    message_bytes: int = 1024 * 1024
    """One WebSocket message, all its frames together (close code 1009)."""
    connections: int = 200
    """TCP connections open at a time: well under the usual 1024 file descriptors, which git and SQLite need too."""


DEFAULT_LIMITS = Limits()


class Settings(Config):
    """Hypercorn's configuration as this server uses it: no access log, errors to ``logger``."""

    def __init__(self, limits: Limits, logger: logging.Logger) -> None:
        self.limits = limits
        self.errorlog = logger
        self.include_server_header = False
        self.h11_max_incomplete_size = limits.head_bytes
        self.websocket_max_message_size = limits.message_bytes
        # A page that polls would be cut off in mid-sequence; idle connections end by their time-out.
        self.keep_alive_max_requests = sys.maxsize
        self.shutdown_timeout = limits.farewell_seconds
