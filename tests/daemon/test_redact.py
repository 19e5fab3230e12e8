"""Secrets do not come out of the daemon: not in a log line, nor a status, nor an error."""

from __future__ import annotations

import logging
import sys

import pytest

from asynclogd.redact import RedactingFormatter, Redactor

SECRET = "s3cr3t-of-ours"


@pytest.mark.parametrize(
    "text",
    [
        f"HTTPError: 401 for url: https://me:{SECRET}@host/api",
        f"can't connect to postgresql://me:a/{SECRET}@host/db",
        f"can't connect to postgresql:///db?user=me&pwd={SECRET},#",
        f"Authorization: Bearer {SECRET}",
        f"authorization: basic {SECRET}",
        f"POST /login?api_key={SECRET}&x=1",
        f"{{'token': '{SECRET}', 'x': 1}}",
        f'{{"password": "{SECRET}"}}',
        f"bad Api-Key: {SECRET}",
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str) -> None:
    shown = Redactor({}).text(text)
    assert SECRET not in shown
    assert "***" in shown


@pytest.mark.parametrize("text", ["run p/r is open", "/home/me/token/x", "tokens: 17", "https://host:80/a", "loss=nan"])
def test_everything_else_is_as_it_was(text: str) -> None:
    assert Redactor({}).text(text) == text


def test_a_secret_of_the_environment_is_found_wherever_it_is() -> None:
    redactor = Redactor({"WANDB_API_KEY": SECRET, "PATH": "/usr/bin", "MY_TOKEN": "abc"})
    assert redactor.text(f"x{SECRET}y /usr/bin abc") == "x***y /usr/bin abc"
    assert redactor.tree({"a": [f"<{SECRET}>", 7], SECRET: None}) == {"a": ["<***>", 7], SECRET: None}


def test_a_traceback_in_the_log_is_redacted_too() -> None:
    try:
        raise OSError(f"https://me:{SECRET}@host")
    except OSError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    line = RedactingFormatter("%(message)s").format(record)
    assert "Traceback" in line
    assert SECRET not in line
