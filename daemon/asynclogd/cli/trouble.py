"""What a person should know of backends that don't just work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape

SLOW_CALL_SECONDS = 5.0
"""A call of a backend that goes on for longer is told of."""


def lines(backends: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One line for each thing, with rich's markup; `backends` is the report's."""
    for name, backend in backends.items():
        if backend["state"] == "hanging":
            lasts = (
                f"its {backend['call']} has been going on for {backend['call_s']:.0f} s, longer than delivery.timeout"
            )
            yield f"[red]{name} hangs:[/] {lasts}"
        elif backend["state"] not in ("ok", "closed"):
            again = f"; again in {backend['retry_in_s']:.0f} s" if backend["retry_in_s"] >= 1 else ""
            error = escape(backend["error"])
            yield f"[red]{name} is {backend['state']}[/], tried {backend['retries']} times: {error}{again}"
        if backend["call_s"] > SLOW_CALL_SECONDS and backend["state"] != "hanging":
            yield f"[red]{name} hangs?[/] Its {backend['call']} has been going on for {backend['call_s']:.0f} s"
        if backend["trouble"]:
            yield f"[red]{name}:[/] {escape(backend['trouble'])}"
        if backend["narrowed_to_bytes"]:
            size = backend["narrowed_to_bytes"] / 1024
            yield f"[yellow]{name} was throttled[/] and is sent {size:,.0f} KiB at a time, more as it takes that"
        if backend["started_over"]:
            yield f"{name} could not go on from where it was, and began anew {backend['started_over']} times"
