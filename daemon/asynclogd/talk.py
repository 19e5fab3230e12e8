"""Asking a running daemon, from a tool: one question, one report."""

from __future__ import annotations

from typing import Any

import zmq

from asynclog_proto import frames, places
from asynclog_proto.errors import AsynclogError, ProtocolError
from asynclogd import keys

MAX_REPORT_BYTES = 64 << 20


class NoDaemonError(AsynclogError):
    """Nobody answers at an endpoint."""


class RefusedError(AsynclogError):
    """The daemon does not do what it was asked for, and says why."""


def ask(endpoint: str, what: str = "status", timeout: float = 2.0) -> dict[str, Any]:
    """The daemon's report. `what` may be "stop" too. Raises NoDaemonError after `timeout` seconds."""
    return request(endpoint, frames.Query(what), timeout)


def request(endpoint: str, message: frames.Query | frames.AddBackend, timeout: float) -> dict[str, Any]:
    """The report that answers a message. Raises NoDaemonError after `timeout` seconds, RefusedError."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        if places.is_remote(endpoint):
            _show_key(socket)
        socket.connect(endpoint)
        socket.send_multipart(frames.encode(message))
        if not socket.poll(int(timeout * 1000)):
            raise NoDaemonError(f"no daemon answers at {endpoint}")
        answer, _ = frames.decode(socket.recv_multipart(), max_header=MAX_REPORT_BYTES)
    if isinstance(answer, frames.Refused):
        raise RefusedError(answer.why)
    if not isinstance(answer, frames.Report):
        raise ProtocolError(f"a report was expected, not {answer}")
    return dict(answer.report)


def _show_key(socket: zmq.Socket[bytes]) -> None:
    directory = keys.keys_dir()
    pair = keys.client_pair(directory)
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server_key(directory))
    socket.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
