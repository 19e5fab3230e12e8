"""Sizes and times as people write and read them."""

from __future__ import annotations

import math
import re

import click

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

_NUMBER = r"(\d+(?:\.\d+)?)\s*"


def duration(text: str) -> float:
    """30d, 12h, 90m, 45s, 2w as seconds, for an option's `type`."""
    found = re.fullmatch(_NUMBER + "([smhdw])", text.strip().lower())
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration: a number and s, m, h, d or w, like 30d or 12h")
    return float(found[1]) * SECONDS[found[2]]


def size(text: str) -> int:
    """50G, 500M, 2T, 1000 as bytes (a K is 1024), for an option's `type`."""
    found = re.fullmatch(_NUMBER + "([kmgt]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise click.BadParameter(f"{text!r} is no size: a number and K, M, G or T, like 50G or 500M")
    return math.floor(float(found[1]) * BYTES[found[2]])


def bytes_text(number: float) -> str:
    """1536 as "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def ago(seconds: float) -> str:
    """7200 as "2 h ago"."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now" if seconds < 10 else f"{seconds:.0f} s ago"


def number(value: float) -> str:
    """A value in at most ten characters, its magnitude kept."""
    return str(value) if not math.isfinite(value) else f"{value:.5g}"
