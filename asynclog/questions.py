"""Reduced values that were asked for: futures, on their way to the daemon and back.

A caller adds a question; the sender's thread gives it its place in the stream, once the device rows from before the
call are written, asks the daemon when everything before it is journaled, and resolves the future.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError

from asynclog_proto.errors import NoValueError
from asynclog_proto.frames import Ask, Value
from asynclog_proto.limits import MAX_ASKS


class Question:
    """One call; `devices` is how many device rows were logged before it."""

    def __init__(self, name: str, step: int | None, devices: int) -> None:
        self.name = name
        self.step = step
        self.devices = devices
        self.number = 0
        self.next_seq = 0
        self.future: Future[float] = Future()

    def __str__(self) -> str:
        return f"reduced({self.name!r}, step={self.step})"


class Questions:
    """Those of one run. `add` is called from any thread, everything else from the sender's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._open: dict[int, Question] = {}
        self._unplaced: deque[Question] = deque()
        self._unasked: deque[Question] = deque()

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, question: Question) -> None:
        """Somebody asks. At the cap the future fails at once."""
        with self._lock:
            if len(self._open) >= MAX_ASKS:
                self._open = {number: each for number, each in self._open.items() if not each.future.cancelled()}
            if len(self._open) < MAX_ASKS:
                self._number += 1
                question.number = self._number
                self._open[question.number] = question
                self._unplaced.append(question)
                return
        fail(question, f"{MAX_ASKS} values are asked for and not there yet: wait for some of them first")

    def place(self, devices: int, next_seq: int) -> bool:
        """The records before `next_seq` hold all of before the calls, if `devices` device rows are written. Whether
        any question has its place now.
        """
        placed = False
        while self._unplaced and self._unplaced[0].devices <= devices:
            question = self._unplaced.popleft()
            question.next_seq = next_seq
            self._unasked.append(question)
            placed = True
        return placed

    def due(self, acked_seq: int) -> Ask | None:
        """The next question, when everything before it is journaled."""
        while self._unasked and (self._unasked[0].number not in self._open or self._unasked[0].future.cancelled()):
            self._forget(self._unasked.popleft().number)
        if not self._unasked or self._unasked[0].next_seq > acked_seq:
            return None
        question = self._unasked[0]
        return Ask(question.number, question.next_seq, question.name, question.step)

    def sent(self) -> None:
        """What was due is on its way."""
        self._unasked.popleft()

    def ask_again(self) -> None:
        """A new connection, or a new daemon, knows of no question."""
        with self._lock:
            unplaced = {question.number for question in self._unplaced}
            self._unasked = deque(each for number, each in self._open.items() if number not in unplaced)

    def answered(self, value: Value) -> None:
        """The daemon has told a value, or why there is none."""
        question = self._forget(value.number)
        if question is None:
            return
        if value.value is None:
            fail(question, value.reason)
        else:
            _resolve(question.future, value.value)

    def give_up(self, why: str) -> None:
        """No more answers come."""
        with self._lock:
            questions, self._open = list(self._open.values()), {}
            self._unplaced.clear()
            self._unasked.clear()
        for question in questions:
            fail(question, why)

    def _forget(self, number: int) -> Question | None:
        with self._lock:
            return self._open.pop(number, None)


def fail(question: Question, why: str) -> None:
    """The future of `question` raises NoValueError."""
    _resolve(question.future, NoValueError(f"{question}: {why}"))


def _resolve(future: Future[float], result: float | NoValueError) -> None:
    try:
        if isinstance(result, NoValueError):
            future.set_exception(result)
        else:
            future.set_result(result)
    except InvalidStateError:  # who asked has cancelled it
        pass
