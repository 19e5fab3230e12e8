"""Peers that knock at the daemon's doors, well or badly."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from asynclog_proto import frames

GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31
"""ZMTP 3.0's, 64 bytes."""

READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"


def frame(body: bytes, *, more: bool = False) -> bytes:
    """A frame of ZMTP."""
    if len(body) > 255:
        return bytes([2 | more]) + struct.pack(">Q", len(body)) + body
    return bytes([more, len(body)]) + body


@contextlib.contextmanager
def raw(runtime: Path) -> Iterator[socket.socket]:
    """A connection to the daemon's socket, nothing said."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        end = time.monotonic() + 30
        while connection.connect_ex(str(runtime / "daemon.sock")):
            assert time.monotonic() < end, "nobody listens"  # bound, and not listening yet
        yield connection


@contextlib.contextmanager
def shaken(runtime: Path) -> Iterator[socket.socket]:
    """A connection whose handshake is done: what it sends from here on are messages."""
    with raw(runtime) as connection:
        connection.sendall(GREETING)
        greeting = b""
        while len(greeting) < 64:  # it comes in parts
            part = connection.recv(64 - len(greeting))
            assert part, "it has ended the connection"
            greeting += part
        connection.sendall(bytes([4, len(READY)]) + READY)
        assert b"READY" in connection.recv(256)
        yield connection


def until_cut(connection: socket.socket, data: bytes) -> int:
    """Send `data` again and again until the daemon ends the connection; how many bytes were sent. 16 GiB at most."""
    sent = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < 16 << 30:
            connection.sendall(data)
            sent += len(data)
    return sent


@contextlib.contextmanager
def dealer(endpoint: str, keys: tuple[bytes, bytes, bytes] | None = None) -> Iterator[zmq.Socket[bytes]]:
    """A DEALER; `keys` are the server's public one, its own public one and its own secret one."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.setsockopt(zmq.LINGER, 0)
        if keys is not None:
            peer.setsockopt(zmq.CURVE_SERVERKEY, keys[0])
            peer.setsockopt(zmq.CURVE_PUBLICKEY, keys[1])
            peer.setsockopt(zmq.CURVE_SECRETKEY, keys[2])
        peer.connect(endpoint)
        yield peer


def asked(peer: zmq.Socket[bytes], message: frames.Message, seconds: float = 10.0) -> frames.Message | None:
    """The answer to a message; None when there is none in that time."""
    if not peer.poll(int(seconds * 1000), zmq.POLLOUT):
        return None
    peer.send_multipart(frames.encode(message))
    if not peer.poll(int(seconds * 1000)):
        return None
    return frames.decode(peer.recv_multipart(), max_header=1 << 26)[0]
