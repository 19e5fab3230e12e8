"""An HTTP server that strangers may reach: a thread a request, and bounds on how many there are and how long one takes.

prometheus_client's own has none: connections that say nothing took a thread and a file descriptor each, for ever.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

log = logging.getLogger(__name__)

MOST_REQUESTS = 32
"""Requests at once. For one more the oldest is ended, so that whoever asks quickly is answered whatever others do."""

REQUEST_SECONDS = 15.0
"""A request that takes longer is ended."""

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: a scrape is no news."""


class HttpDoor(socketserver.ThreadingMixIn, WSGIServer):
    """Listens once it is made, serves in `serve_forever`. `host` is a name or an address. Raises OSError."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, app: App) -> None:
        self.address_family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}
        """the connections, oldest first"""
        super().__init__((str(where[0]), port), _Handler)
        self.set_app(app)

    def server_bind(self) -> None:
        """As HTTPServer does, but for the full name of this host: to look that up can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A connection has come."""
        with self._lock:
            too_many = list(self._since)[: len(self._since) + 1 - MOST_REQUESTS]
            for oldest in too_many:
                del self._since[oldest]
            self._since[request] = time.monotonic()
        for oldest in too_many:
            _end(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A connection has been served."""
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called each half second: end what takes too long, a byte at a time, say."""
        late = time.monotonic() - REQUEST_SECONDS
        with self._lock:
            slow = [request for request, since in self._since.items() if since < late]
        for request in slow:
            _end(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature is socketserver's
        """A peer that has gone, or was ended."""
        log.debug("a request from %s failed: %s", client_address, sys.exc_info()[1])


def _end(request: socket.socket) -> None:
    """Its thread finds that nothing more comes."""
    with contextlib.suppress(OSError):  # it has ended by itself
        request.shutdown(socket.SHUT_RDWR)
