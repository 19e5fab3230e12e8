"""The daemon's log: a line an incident, as text or as JSON, without secrets and without storms."""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TextIO

from asynclogd import incidents
from asynclogd.incidents import FIRST_PERIOD, Storms
from asynclogd.redact import RedactingFormatter, Redactor

if TYPE_CHECKING:
    Handler = logging.StreamHandler[TextIO]
else:
    Handler = logging.StreamHandler  # generic at run time from 3.11 on


_BARE = re.compile(r"[\w./:@%+-]+")


def begin(form: Literal["text", "json"], stream: TextIO) -> None:
    """From here on what this process logs goes to `stream`."""
    handler = IncidentHandler(stream)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a line is about, but what does not apply."""
    told = incidents.of(record)
    found = {"run": told.run, "rank": told.rank, "backend": told.backend, "cause": told.cause}
    return {key: value for key, value in found.items() if value not in ("", None)}


class TextLines(RedactingFormatter):
    """Time, level and message, then `key=value` as in logfmt. A traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The line without its traceback."""
        line = " ".join(super().formatMessage(record).splitlines())
        told = fields(record)
        if (count := incidents.of(record).count) != 1:
            told["count"] = count
        return " ".join([line, *(f"{key}={_quoted(str(value))}" for key, value in told.items())])


def _quoted(value: str) -> str:
    return value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)


class JsonLines(logging.Formatter):
    """An object a line: time (ISO 8601, UTC), level, incident, message, count; run, rank, backend, cause and traceback
    where they apply.
    """

    def __init__(self) -> None:
        super().__init__()
        self._redactor = Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """The whole text of a record."""
        told = incidents.of(record)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "incident": told.incident,
            "message": record.getMessage(),
            "count": told.count,
            **fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(self._redactor.tree(line), ensure_ascii=False)


class IncidentHandler(Handler):
    """Writes to a stream. Of a storm it shows one line, and how many more came once its period is over."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._storms = Storms()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it. Called under the handler's lock."""
        if self._storms.shows(record, time.monotonic()):
            super().emit(record)
        elif self._timer is None:
            self._wait()

    def close(self) -> None:
        """Tell of what was counted, and write nothing any more."""
        with self._locked():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._tell(math.inf)
        super().close()

    def _locked(self) -> threading.RLock:
        assert self.lock is not None
        return self.lock

    def _wait(self) -> None:
        """A thread only while something is counted: a daemon that is well is woken by nothing."""
        timer = threading.Timer(FIRST_PERIOD, self._period_is_over)
        timer.daemon = True
        with suppress(RuntimeError):  # no thread is to be had now: the next line that is counted tries again
            timer.start()
            self._timer = timer

    def _period_is_over(self) -> None:
        with self._locked():
            if self._timer is None:
                return  # closed meanwhile
            self._timer = None
            self._tell(time.monotonic())
            if self._storms.counting:
                self._wait()

    def _tell(self, now: float) -> None:
        for record in self._storms.over(now):
            super().emit(record)
