"""Taking secrets out of texts: the log's lines, the status, the reasons of dead letters. SDKs put into their errors
whatever they were given, and that ends there.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

from asynclog_proto.secrets import is_secret, without_passwords

SHOWN = "***"
SHORTEST = 6
"""A shorter value of the environment is no secret worth the name, and would be found in every other word."""

_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}"), rf"\1\2{SHOWN}"),
    (
        re.compile(
            r"(?i)((?:api_?-?key|access_?key|token|password|passwd|secret)['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;)}\]]+"
        ),
        rf"\1{SHOWN}",
    ),
)


class Redactor:
    """Knows the secrets of an environment: the values of variables that are named like secrets."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        values = {value for name, value in environ.items() if is_secret(name) and len(value) >= SHORTEST}
        self._values = sorted(values, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` without what looks like a secret, or is one of the environment's."""
        for value in self._values:
            text = text.replace(value, SHOWN)
        text = without_passwords(text, SHOWN)
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return text

    def tree(self, value: Any) -> Any:
        """Plain values, with every text in them redacted; keys are names and stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.tree(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.tree(each) for each in value]
        return value


class RedactingFormatter(logging.Formatter):
    """Lines of the log, tracebacks included."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self._redactor = Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """The whole text of a record."""
        return self._redactor.text(super().format(record))
