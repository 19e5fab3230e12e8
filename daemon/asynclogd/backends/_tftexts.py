"""Tables and files as Markdown, for TensorBoard's text tab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MOST_ROWS = 1000
"""Of a table that are shown: the tab renders a text as a whole, and the journal has the rest."""

_UNITS = ("B", "KB", "MB", "GB", "TB")


def table_text(data: bytes) -> str:
    """Markdown of {"columns": [...], "rows": [[...]]}. Raises ValueError, KeyError or TypeError for anything else."""
    table = json.loads(data)
    columns, rows = table["columns"], table["rows"]
    lines = [_row(columns), _row(["---"] * len(columns)), *map(_row, rows[:_MOST_ROWS])]
    if len(rows) > _MOST_ROWS:
        lines += ["", f"{len(rows) - _MOST_ROWS} more rows"]
    return "\n".join(lines)


def _row(cells: list[Any]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: Any) -> str:
    """A cell on one line, its bars kept from ending it."""
    shown = "" if value is None else str(value)
    return " ".join(shown.replace("\\", "\\\\").replace("|", "\\|").split())


def file_text(options: Mapping[str, Any], size: int) -> str:
    """What a file is and where it lies; `size` is that of its bytes when they came along."""
    size = size or int(options.get("size") or 0)
    path = str(options.get("path") or "")
    name = str(options.get("artifact") or path.rsplit("/", 1)[-1] or "file")
    kind = str(options.get("type") or "file")
    return f"**{_code(name)}** ({kind}, {_bytes(size)})" + (f": {_code(path)}" if path else "")


def _code(value: str) -> str:
    return f"`{value.replace('`', chr(39))}`"


def _bytes(size: float) -> str:
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"
