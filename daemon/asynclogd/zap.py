"""Who may come in: libzmq asks for each connection, during its handshake and before anything of it is read.

It asks by ZAP, ZeroMQ's protocol for that (https://rfc.zeromq.org/spec/27), at one address of a context. On ipc the
answer is by the peer's user id, as the kernel tells it; on TCP by its key, which CURVE has proved to be the peer's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import zmq

ADDRESS = "inproc://zeromq.zap.01"
IPC, TCP = b"ipc", b"tcp"
"""The domains: which door it is that somebody knocks at."""

Names = Callable[[float], Mapping[bytes, str]]
"""Keys that are allowed at a monotonic time, and their names."""


class Verdict(NamedTuple):
    """`user` is what each message of the peer is marked with: the hexadecimal digits of its key, or its user id."""

    code: bytes
    text: str
    user: str = ""


def judge(request: Sequence[bytes], uid: int, allowed: Mapping[bytes, str]) -> Verdict:
    """The answer to one question: [version, id, domain, address, routing id, mechanism, credentials...]."""
    if len(request) < 6 or request[0] != b"1.0":
        return Verdict(b"500", "not a question of ZAP 1.0")
    domain, address, mechanism = request[2], request[3].decode(errors="replace"), request[5]
    if domain == IPC and mechanism == b"NULL":
        return _by_user(address, uid)
    if domain == TCP and mechanism == b"CURVE" and len(request) == 7:
        return _by_key(request[6], allowed)
    return Verdict(b"400", f"{mechanism.decode(errors='replace')} is no way in here")


def _by_key(key: bytes, allowed: Mapping[bytes, str]) -> Verdict:
    """Not allowed is 300, not now: told 400, libzmq's clients never knock again, and a key may be allowed later."""
    return Verdict(b"200", allowed[key], key.hex()) if key in allowed else Verdict(b"300", "the key is not allowed")


def _by_user(address: str, uid: int) -> Verdict:
    """As libzmq tells the peer of a socket in the file system: `localhost:uid:gid:pid`."""
    fields = address.split(":")
    if len(fields) < 4 or not fields[-3].isdecimal():
        return Verdict(b"400", "the system does not tell whose process it is")
    peer = int(fields[-3])
    if peer not in (uid, 0):  # root reads and writes everything of ours anyway
        return Verdict(b"400", f"it is of user {peer}")
    return Verdict(b"200", "OK", str(peer))


class Porter:
    """Answers libzmq's questions, on the event loop; owns its socket from the beginning to `close`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: Names) -> None:
        """The questions of all sockets of `context` come here; those that come before `start` wait."""
        self._allowed = allowed
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ADDRESS)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer."""
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._answer)
        self._answer()

    def close(self) -> None:
        """Answer no more: nobody else comes in."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _answer(self) -> None:
        # The file descriptor is edge-triggered: until there is nothing left, or nobody wakes us again.
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            request = self._socket.recv_multipart(zmq.NOBLOCK)
            verdict = judge(request, os.getuid(), self._allowed(time.monotonic()))
            number = request[1] if len(request) > 1 else b""
            answer = [b"1.0", number, verdict.code, verdict.text.encode(), verdict.user.encode(), b""]
            self._socket.send_multipart(answer, zmq.NOBLOCK)
