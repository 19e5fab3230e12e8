"""Stands in for the encoders until they come: text as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynclog_proto.media import Section
from asynclogd.media.forms import MARKDOWN, Encoded, UnfitError


def encode(kind: str, sections: tuple[Section, ...], options: Mapping[str, Any], body: memoryview) -> Encoded:
    """Raises UnfitError for anything but text."""
    del sections, options
    if kind != "text":
        raise UnfitError(f"{kind} can't be encoded yet")
    return Encoded(MARKDOWN, bytes(body))
