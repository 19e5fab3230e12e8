"""What is text by itself: Markdown, HTML, tables and the layout of custom scalars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from asynclog._media.form import Form, Media, text_part
from asynclog._media.spaces import json_text
from asynclog.values import BadValueError
from asynclog_proto.limits import MAX_MEDIA_BYTES

CHARTS = ("Multiline", "Margin")


class Text(Media):
    """A text.

    Args:
        text: Markdown.
    """

    KIND: ClassVar[str] = "text"

    def __init__(self, text: str) -> None:
        self.text = text

    def form(self) -> Form:
        """As Media.form."""
        return _of_text(self.KIND, self.text)


class Html(Media):
    """A page.

    Args:
        html: The page, which is shown without scripts.
    """

    KIND: ClassVar[str] = "html"

    def __init__(self, html: str) -> None:
        self.html = html

    def form(self) -> Form:
        """As Media.form."""
        return _of_text(self.KIND, self.html)


class Table(Media):
    """A table.

    Args:
        rows: Lists of cells, or mappings of column to cell, or a frame of pandas. A cell is None, a bool, a number or
            its text.
        columns: Names of the columns; None takes them from the mappings or the frame.
    """

    KIND: ClassVar[str] = "table"

    def __init__(self, rows: Any, columns: Sequence[str] | None = None) -> None:
        self.rows = rows
        self.columns = columns

    def form(self) -> Form:
        """As Media.form."""
        columns, rows = _table(self.rows, self.columns)
        for row in rows:
            if len(row) != len(columns):
                text = f"has a row of {len(row)} cells for {len(columns)} columns: one each is accepted"
                raise BadValueError(text, ValueError)
        return _of_text(self.KIND, json_text("table", {"columns": [str(name) for name in columns], "rows": rows}))


class Layout(Media):
    """How TensorBoard's custom scalars are arranged.

    Args:
        layout: {category: {chart: ["Multiline" or "Margin", [metric, ...]]}}, as for SummaryWriter.add_custom_scalars.
    """

    KIND: ClassVar[str] = "layout"

    def __init__(self, layout: Mapping[str, Mapping[str, Any]]) -> None:
        self.layout = layout

    def form(self) -> Form:
        """As Media.form."""
        made: dict[str, dict[str, list[Any]]] = {}
        try:
            for category, charts in self.layout.items():
                made[str(category)] = {str(chart): _chart(*given) for chart, given in charts.items()}
        except (AttributeError, TypeError) as error:
            accepted = "{category: {chart: ['Multiline' or 'Margin', [metric, ...]]}}"
            raise BadValueError(f"is a layout of another shape: {accepted} is accepted") from error
        return _of_text(self.KIND, json_text("layout", made))


def _chart(kind: Any, tags: Any) -> list[Any]:
    if kind not in CHARTS:
        raise BadValueError(f"has a chart {kind!r}: accepted are {' and '.join(CHARTS)}", ValueError)
    return [kind, [str(tag) for tag in ([tags] if isinstance(tags, str) else tags)]]


def _of_text(kind: str, text: Any) -> Form:
    if not isinstance(text, str):
        raise BadValueError(f"is a {kind} of type {type(text).__name__}: a str is accepted")
    part = text_part(kind, text)
    if part.section.size > MAX_MEDIA_BYTES:
        most = f"at most {MAX_MEDIA_BYTES >> 20} MiB are accepted"
        raise BadValueError(f"is a {kind} of {part.section.size >> 20} MiB: {most}", ValueError)
    return Form(kind, (part,))


def _table(rows: Any, columns: Sequence[str] | None) -> tuple[list[Any], list[list[Any]]]:
    if hasattr(rows, "columns") and hasattr(rows, "itertuples"):  # a frame of pandas
        cells = [list(row) for row in rows.itertuples(index=False, name=None)]
        return list(rows.columns if columns is None else columns), cells
    try:
        given = rows.tolist() if hasattr(rows, "tolist") else list(rows)
        if columns is None and not all(isinstance(row, Mapping) for row in given):
            raise BadValueError("is a table without columns: name them, or give a mapping for each row", ValueError)
        names = list(dict.fromkeys(name for row in given for name in row)) if columns is None else list(columns)
        listed = [[row.get(name) for name in names] if isinstance(row, Mapping) else list(row) for row in given]
    except TypeError as error:
        raise BadValueError(f"is a table of type {type(rows).__name__}: a list of rows is accepted") from error
    return names, listed
