"""The worker processes that encode media: started when there is something to encode, ended when there is not.

An item is tried twice before a worker's death is its fault: that may have been killed for another reason (for memory,
by whoever ends processes). One that takes too long is killed, and then the item is refused at once.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

import asynclogd
from asynclog_proto.errors import ProtocolError
from asynclogd.media import requests
from asynclogd.media.forms import DroppedError, Encoded, UnfitError
from asynclogd.media.requests import Answer, Request

START_SECONDS = 60.0
IDLE_SECONDS = 10.0
ATTEMPTS = 2
PIPE_BYTES = 1 << 20

T = TypeVar("T")


class WorkersError(Exception):
    """No worker can be had now; no item is at fault."""


class Workers:
    """At most `count` processes, each used by a thread of the pool. `seconds` are for one item, `memory` are bytes."""

    def __init__(
        self, count: int = 2, seconds: float = 30.0, memory: int = 1536 << 20, command: Sequence[str] | None = None
    ) -> None:
        self._count, self._seconds = count, seconds
        run = command or (sys.executable, "-m", "asynclogd.media.worker")
        self._command = [*run, str(memory), str(max(1, round(seconds)))]
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._idle: list[tuple[float, _Worker]] = []
        self._busy: set[_Worker] = set()
        self._closed = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run something that encodes in a thread of the pool."""
        if self._threads is None:
            # Threads of their own: the kernel ends a worker with the thread that started it.
            self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="media")
        return self._threads.submit(call)

    def encode(self, request: Request) -> Encoded:
        """Have an item encoded; blocks. Raises UnfitError when that can't be done, WorkersError when not now,
        DroppedError when its rank has dropped it.
        """
        message = requests.request_bytes(request)
        for attempt in range(1, ATTEMPTS + 1):
            worker = self._take(fresh=attempt > 1)  # others that have rested may be dead as well
            try:
                answer = worker.ask(message, self._seconds)
            except TimeoutError as error:
                worker.end()
                raise UnfitError(f"encoding it takes more than {self._seconds:g} s") from error
            except ProtocolError as error:
                worker.end()
                raise UnfitError(str(error)) from error
            except OSError as error:
                worker.end()
                if self._closed:
                    raise WorkersError("the daemon stops") from error
                if attempt == ATTEMPTS:
                    raise UnfitError(f"a worker that encodes it dies ({worker.died()})") from error
                continue
            else:
                return self._encoded(worker, answer)
            finally:
                self._release(worker)
        raise AssertionError  # the last attempt returns or raises

    def end_idle(self) -> None:
        """End workers that have had nothing to do for a while."""
        with self._lock:
            now = time.monotonic()
            rested = [worker for since, worker in self._idle if now - since > IDLE_SECONDS]
            self._idle = [(since, worker) for since, worker in self._idle if worker not in rested]
        for worker in rested:
            worker.end()

    def pids(self) -> list[int]:
        """The processes that live."""
        with self._lock:
            return [worker.pid for worker in [*self._busy, *(worker for _, worker in self._idle)]]

    def close(self) -> None:
        """End all of them, in whatever they are. Idempotent."""
        self._closed = True
        with self._lock:
            for worker in self._busy:
                worker.kill()  # its thread sees to the rest
            idle, self._idle = self._idle, []
        for _, worker in idle:
            worker.end()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _take(self, *, fresh: bool) -> _Worker:
        with self._lock:
            if self._closed:
                raise WorkersError("the daemon stops")
            worker = self._idle.pop()[1] if self._idle else None
        if worker is not None and fresh:
            worker.end()
        if worker is None or not worker.lives:
            worker = _Worker(self._command)
        with self._lock:
            self._busy.add(worker)
            if self._closed:
                worker.kill()
        return worker

    def _release(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            rests = worker.lives and not self._closed
            if rests:
                self._idle.append((time.monotonic(), worker))
        if worker.lives and not rests:
            worker.end()  # `close` came between its answer and here

    def _encoded(self, worker: _Worker, answer: Answer) -> Encoded:
        if answer.word == "encoded":
            form, options = answer.fields
            return Encoded(form, bytes(answer.data), options)
        if answer.word == "dropped":
            raise DroppedError
        if answer.word == "spent":
            worker.end()
        raise UnfitError(answer.fields[0] if answer.fields else "a worker does not answer")


class _Worker:
    """One process."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises WorkersError when that fails."""
        # One thread: it is beside a training, and each thread of a library takes of the memory that it is allowed.
        quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env={**os.environ, **quiet},
                cwd=Path(asynclogd.__file__).parents[1],  # -m looks there first
            )
            self.lives = True
            os.set_blocking(_fd(self._process.stdin), False)
            os.set_blocking(_fd(self._process.stdout), False)
            if sys.platform == "linux":  # fewer and larger reads
                fcntl.fcntl(_fd(self._process.stdout), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self.ask(b"", START_SECONDS)
        except (OSError, ProtocolError) as error:
            if hasattr(self, "lives"):
                self.end()
            raise WorkersError(f"a worker for media does not start: {error}") from error

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ask(self, message: bytes, seconds: float) -> Answer:
        """Send a request and wait for its answer. Raises TimeoutError, ConnectionError when it has died, OSError,
        ProtocolError.
        """
        deadline = time.monotonic() + seconds
        self._send(memoryview(message), deadline)
        head, body = requests.lengths(self._receive(requests.LENGTHS.size, deadline))
        packed = self._receive(head, deadline)
        return requests.read_answer(bytes(packed), self._receive(body, deadline))

    def kill(self) -> None:
        """Whoever waits for its answer sees that it is gone."""
        self._process.kill()

    def end(self) -> None:
        """Kill it; it keeps nothing. Idempotent."""
        self.lives = False
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def died(self) -> str:
        """How it has, in words."""
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _send(self, view: memoryview, deadline: float) -> None:
        while view:
            self._wait(self._process.stdin, selectors.EVENT_WRITE, deadline)
            view = view[os.write(_fd(self._process.stdin), view) :]

    def _receive(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        view, done = memoryview(data), 0
        while done < size:
            self._wait(self._process.stdout, selectors.EVENT_READ, deadline)
            count = os.readv(_fd(self._process.stdout), [view[done:]])
            if not count:
                raise ConnectionResetError("it has ended")
            done += count
        return data

    def _wait(self, pipe: IO[bytes] | None, what: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(_fd(pipe), what)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError


def _fd(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    return pipe.fileno()
