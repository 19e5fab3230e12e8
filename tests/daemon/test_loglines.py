"""The daemon's log as a person and a machine read it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asynclogd import incidents, loglines
from asynclogd.incidents import about
from asynclogd.loglines import IncidentHandler, JsonLines, TextLines

SECRET = "s3cr3t-of-ours"


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of this test's own, which no other handler hears."""
    logger = logging.getLogger("asynclogd.test-loglines")
    logger.propagate = False
    yield logger
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)


def written(log: logging.Logger, form: logging.Formatter, say: Callable[[], object]) -> str:
    """What stands in the log when it has been closed."""
    stream = io.StringIO()
    handler = IncidentHandler(stream)
    handler.setFormatter(form)
    log.addHandler(handler)
    say()
    handler.close()
    return stream.getvalue()


def test_a_line_of_text_ends_with_what_it_is_about(log: logging.Logger) -> None:
    told = about("backend-fails", run="p/a run", rank=0, backend="csv", cause=OSError("x"), count=3)
    text = written(log, TextLines(), lambda: log.warning("csv: %s", "no\nspace", extra=told))
    assert text.endswith(' WARNING csv: no space run="p/a run" rank=0 backend=csv cause=OSError count=3\n')


def test_a_line_of_json_says_the_same_by_name(log: logging.Logger) -> None:
    told = about("backend-fails", run="p/r", backend="csv", cause=OSError("x"))
    line = json.loads(written(log, JsonLines(), lambda: log.warning("csv: %s", "no\nspace", extra=told)))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning", "incident": "backend-fails", "message": "csv: no\nspace", "count": 1,
        "run": "p/r", "backend": "csv", "cause": "OSError",
    }  # fmt: skip


@pytest.mark.parametrize("form", [TextLines(), JsonLines()])
def test_of_a_thousand_lines_the_log_has_two(log: logging.Logger, form: logging.Formatter) -> None:
    def storm() -> None:
        for number in range(1000):
            log.warning("refused: %d", number, extra=about("message-refused"))

    first, more = written(log, form, storm).splitlines()
    assert "refused: 0" in first
    assert "refused: 999 (999 more like it in 10 s)" in more


@pytest.mark.parametrize("form", [TextLines(), JsonLines()])
def test_secrets_are_not_in_a_message_nor_a_traceback(log: logging.Logger, form: logging.Formatter) -> None:
    def fail() -> None:
        try:
            raise OSError(f"https://me:{SECRET}@host")
        except OSError as error:
            log.exception("at %s: token=%s", "x", SECRET, extra=about("x", cause=error))

    text = written(log, form, fail)
    assert "Traceback" in text
    assert "***" in text
    assert SECRET not in text


def test_how_many_more_there_were_is_told_while_the_log_is_open(
    log: logging.Logger, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    for module in (loglines, incidents):
        monkeypatch.setattr(module, "FIRST_PERIOD", 0.05)
    stream = io.StringIO()
    handler = IncidentHandler(stream)
    log.addHandler(handler)
    for _ in range(3):
        log.warning("refused", extra=about("message-refused"))
    eventually(lambda: "2 more like it" in stream.getvalue(), what="the second line")
    handler.close()


def test_both_forms_are_what_a_daemon_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: dict[str, Any] = {}
    monkeypatch.setattr(logging, "basicConfig", begun.update)
    forms: tuple[Any, ...] = ("text", "json")
    made = []
    for form in forms:
        loglines.begin(form, io.StringIO())
        made.append(type(begun["handlers"][0].formatter))
        begun["handlers"][0].close()
    assert made == [TextLines, JsonLines]
