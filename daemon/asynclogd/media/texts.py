"""What is text already, or stays bytes: Markdown, HTML, tables, layouts of charts, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from asynclogd.media import wishes
from asynclogd.media.body import Body
from asynclogd.media.forms import BYTES, HTML, JSON, MARKDOWN, Encoded, UnfitError
from asynclogd.media.limits import MAX_CELLS, check_count

_MARGIN_TAGS = 3


def markdown(body: Body, options: Mapping[str, Any]) -> Encoded:
    """UTF-8, as it is."""
    del options
    return Encoded(MARKDOWN, body.text("text").encode())


def html(body: Body, options: Mapping[str, Any]) -> Encoded:
    """UTF-8, as it is: whoever shows it has to trust it or keep it apart."""
    del options
    return Encoded(HTML, body.text("html").encode())


def table(body: Body, options: Mapping[str, Any]) -> Encoded:
    """{"columns": [name, ...], "rows": [[cell, ...], ...]}, each row as long as the columns, cells scalars."""
    del options
    found = _json(body, "table")
    columns, rows = (found.get("columns"), found.get("rows")) if isinstance(found, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(rows, list) or not columns:
        raise UnfitError('a table is {"columns": [name, ...], "rows": [[cell, ...], ...]} with at least one column')
    check_count("cells of a table", len(columns) * (len(rows) + 1), MAX_CELLS)
    for number, row in enumerate([columns, *rows]):
        if not isinstance(row, list) or len(row) != len(columns):
            raise UnfitError(f"row {number - 1} of a table is not a list of {len(columns)}, one cell a column")
        if any(isinstance(cell, (list, dict)) for cell in row):
            raise UnfitError(f"row {number - 1} of a table has a cell that is no scalar")
    about = {"columns": len(columns), "rows": len(rows)}
    return Encoded(JSON, _dumped({"columns": columns, "rows": rows}), about)


def layout(body: Body, options: Mapping[str, Any]) -> Encoded:
    """SummaryWriter.add_custom_scalars' {category: {chart: [kind, [tag, ...]]}}. "Margin" has 3 tags, any other kind is
    lines.
    """
    del options
    found = _json(body, "layout")
    if not isinstance(found, dict) or not all(isinstance(charts, dict) for charts in found.values()):
        raise UnfitError("a layout is {category: {chart: [kind, [tag, ...]]}}")
    for category, charts in found.items():
        for chart, content in charts.items():
            _check_chart(f"{category}/{chart}", content)
    return Encoded(JSON, _dumped(found))


def _check_chart(name: str, content: Any) -> None:
    kind, tags = content if isinstance(content, list) and len(content) == 2 else (None, None)
    if not isinstance(kind, str) or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise UnfitError(f"the chart {name!r} of a layout is not [kind, [tag, ...]]")
    if kind == "Margin" and len(tags) != _MARGIN_TAGS:
        raise UnfitError(f"the chart {name!r} has {len(tags)} tags; a Margin has 3: value, lower, upper")


def file(body: Body, options: Mapping[str, Any]) -> Encoded:
    """Its bytes, or none, where only its path is told."""
    path = wishes.word(options, "path", "")
    if "file" not in body and not path:
        raise UnfitError("a file without bytes and without a path")
    data = body.raw("file") if "file" in body else b""
    if "file" in body and not data:  # with a path it would be one that is read from there
        name = wishes.word(options, "artifact", "") or path.rpartition("/")[2]
        return Encoded(BYTES, b"", {"path": None, "artifact": name})
    return Encoded(BYTES, data)


def _json(body: Body, role: str) -> Any:
    try:
        return json.loads(body.text(role))
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"{role} is no JSON: {error}") from None


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
