"""What a backend is asked beside its calls. An answer may take for ever, and holds up no other backend."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from asynclogd.backends.base import Backend, RunInfo
from asynclogd.health import describe
from asynclogd.incidents import about
from asynclogd.redact import Redactor

log = logging.getLogger(__name__)


class Inquiry:
    """What goes wrong with the backend `name` of `run` (project/name) that no call has raised: asked on a thread of its
    own, if it can tell.
    """

    def __init__(self, name: str, backend: Backend, run: str = "") -> None:
        self.trouble = ""
        """the last answer"""
        self._name, self._backend, self._run = name, backend, run
        self._due = threading.Event()
        self._ended = type(backend).trouble is Backend.trouble
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Ask once more, unless it still thinks; trouble is logged once. Does not wait; for one thread."""
        if self._ended:
            return
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name=f"inquiry-{self._name}", daemon=True)
            with suppress(RuntimeError):  # no thread is to be had now: the next time
                thread.start()
                self._thread = thread
        self._due.set()

    def end(self) -> None:
        """Ask no more. Any thread."""
        self._ended = True
        self._due.set()

    def _serve(self) -> None:
        while self._due.wait() and not self._ended:
            self._due.clear()
            before, self.trouble = self.trouble, self._answer()
            if self.trouble and self.trouble != before:
                told = about("backend-trouble", run=self._run, backend=self._name)
                log.warning("%s: %s", self._name, self.trouble, extra=told)

    def _answer(self) -> str:
        try:
            return self._backend.trouble()
        except BaseException as error:  # of somebody's own backend; a SystemExit would end the asking
            return describe(error)


def look(backend: Backend, run: RunInfo) -> str:
    """How a person looks at what a backend has, whatever its own answer is."""
    try:
        return Redactor().text(backend.look(run))
    except BaseException:  # as above
        return str(run.own_dir)
