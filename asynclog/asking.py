"""What `Run.reduced` does: a question to the daemon, and a future for its answer."""

from __future__ import annotations

import operator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from asynclog.questions import Question, fail
from asynclog.rows import Rows
from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import check_name

if TYPE_CHECKING:
    from asynclog.sender import Sender

_CLOSED = {
    "after_finish": "the run is finished: nobody answers any more",
    "after_fork": "a forked process has no run: ask in the parent, or call asynclog.init() here",
    "disabled": "the run is disabled, and nothing is reduced",
}


def reduced(rows: Rows, sender: Sender | None, name: Any, step: Any) -> Future[float]:
    """Ask; what can't be asked is an error in the future."""
    with rows.lock:
        question = Question(name, step, rows.devices.entered)
        why = _CLOSED[rows.closed] if rows.closed is not None else _checked(question)
        if why is None and (sender is None or not sender.online):
            why = "the run is offline: nothing is reduced until `asynclog sync`"
        if why is None and sender is not None:
            why = sender.refused and f"the daemon refuses this run: {sender.refused}"
        if why is None and sender is not None:
            sender.questions.add(question)
    if why is not None:
        fail(question, why)
    elif sender is not None:
        sender.bell.ring()
    return question.future


def _checked(question: Question) -> str | None:
    """Why the question is none, else None; its step is an integer then."""
    try:
        check_name(question.name)
    except ProtocolError as error:
        return str(error)
    try:
        question.step = None if question.step is None else operator.index(question.step)
    except (TypeError, ValueError, RuntimeError):
        return f"a step is an integer or None, not {question.step!r}"
    if question.step is not None and not -(1 << 63) <= question.step < 1 << 63:
        return "a step is an integer of 64 bits"
    return None
