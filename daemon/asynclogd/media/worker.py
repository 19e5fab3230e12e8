"""A worker process: reads bodies and encodes them, one after the other, within limits.

    python -m asynclogd.media.worker MEMORY SECONDS

It is started by workers.py, hears requests on stdin and answers on stdout. What a hostile or broken item does to it
ends with it: it has no socket, no journal, and dies with the daemon.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from asynclog_proto.media import Place, Section
from asynclogd.media import bodies, requests
from asynclogd.media.forms import DroppedError, Encoded, UnfitError

NICENESS = 10
PR_SET_PDEATHSIG = 1

Encode = Callable[[str, tuple[Section, ...], Mapping[str, Any], memoryview], Encoded]


def main(encode: Encode, memory: int, seconds: int) -> None:
    """Serve until stdin ends. `memory` are bytes of address space, `seconds` are for one item."""
    answers = os.dup(1)
    _live_and_die_with_the_daemon()
    os.nice(NICENESS)  # the trainings come first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere it limits nothing, or too much
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _write(answers, requests.frame(["ready"]))
    # A start that fails has said why on the daemon's stderr; what libraries say of items would fill its log.
    silence = os.open(os.devnull, os.O_WRONLY)
    for said in (1, 2):
        os.dup2(silence, said)
    while (head := _next_request()) is not None:
        # The daemon keeps the time; where it can't any more, this does.
        signal.alarm(2 * seconds)
        answer, spent = _answer(encode, head)
        signal.alarm(0)
        _write(answers, answer)
        if spent:
            return


def _answer(encode: Encode, head: bytes) -> tuple[bytes, bool]:
    try:
        request = requests.read_request(head)
        body = request.body
        data = bodies.read(request.paths, body) if isinstance(body, Place) else body
        encoded = encode(request.kind, request.sections, request.options, memoryview(data))
        if len(encoded.data) > requests.MAX_ENCODED:
            raise UnfitError(f"it takes {len(encoded.data)} bytes encoded; at most {requests.MAX_ENCODED} are allowed")
        return requests.frame(["encoded", encoded.form, dict(encoded.options)], encoded.data), False
    except DroppedError:
        return requests.frame(["dropped"]), False
    except UnfitError as error:
        return requests.frame(["unfit", _short(str(error))]), False
    except MemoryError:
        return requests.frame(["spent", "encoding it takes more memory than a worker may have"]), True
    except Exception as error:  # whatever a library makes of an item: that one is refused, the next one is another's
        return requests.frame(["unfit", _short(f"{type(error).__name__}: {error}")]), False


def _short(text: str) -> str:
    return text[:1000].encode(errors="replace").decode()


def _live_and_die_with_the_daemon() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that was set
            sys.exit(1)


def _next_request() -> bytes | None:
    lengths = _read(requests.LENGTHS.size)
    if lengths is None:
        return None
    return _read(requests.LENGTHS.unpack(lengths)[0])


def _read(size: int) -> bytes | None:
    """The next bytes of stdin; None at its end."""
    data = b""
    while len(data) < size:
        some = os.read(0, size - len(data))
        if not some:
            return None
        data += some
    return data


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


if __name__ == "__main__":
    from asynclogd.media.encode import encode as encode_media

    main(encode_media, int(sys.argv[1]), int(sys.argv[2]))
