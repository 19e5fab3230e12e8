"""Markdown, HTML, tables, layouts and files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asynclog_proto.media import Section
from asynclogd.media.encode import encode
from asynclogd.media.forms import BYTES, HTML, JSON, MARKDOWN, Encoded, UnfitError
from tests.daemon.media.laid import encoded, refusal


def test_texts_stay_as_they_are() -> None:
    text = "# Größe\n\n- **a** | \u2603"
    assert encoded("text", text=text) == Encoded(MARKDOWN, text.encode())
    assert encoded("html", html=text) == Encoded(HTML, text.encode())
    assert encoded("text", text="").data == b""


def test_a_table() -> None:
    table = {"columns": ["name", "n"], "rows": [["ä", 1], [None, 2.5], [True, "x"]]}
    made = encoded("table", table=json.dumps(table))
    assert made.form == JSON
    assert json.loads(made.data) == table
    assert made.options == {"columns": 2, "rows": 3}


def test_a_layout_keeps_its_order() -> None:
    layout = {"b": {"z": ["Multiline", ["x/.*", "y"]], "a": ["Margin", ["v", "l", "u"]]}, "a": {}}
    made = encoded("layout", layout=json.dumps(layout))
    assert made.form == JSON
    assert list(json.loads(made.data)) == ["b", "a"]
    assert json.loads(made.data) == layout


def test_a_file_is_its_bytes_or_only_named() -> None:
    assert encoded("file", {"path": "/x", "artifact": "a"}, file=b"\x00\x01") == Encoded(BYTES, b"\x00\x01")
    assert encoded("file", {"path": "/x/model.ckpt"}) == Encoded(BYTES, b"")


def tables(columns: Any, rows: Any) -> dict[str, str]:
    return {"table": json.dumps({"columns": columns, "rows": rows})}


def charts(content: Any) -> dict[str, str]:
    return {"layout": json.dumps({"c": {"chart": content}})}


@pytest.mark.parametrize(
    ("kind", "parts", "told"),
    [
        ("text", {"text": b"\xff"}, "text has the dtype bytes; text is accepted"),
        ("table", {"table": "]"}, "table is no JSON"),
        ("table", {"table": "[" * 200_000}, "table is no JSON"),
        ("table", {"table": "[1]"}, "with at least one column"),
        ("table", tables([], []), "with at least one column"),
        ("table", tables(["a"], [[1, 2]]), "row 0 of a table is not a list of 1"),
        ("table", tables(["a"], [[1], 2]), "row 1 of a table is not a list of 1"),
        ("table", tables(["a"], [[{}]]), "row 0 of a table has a cell that is no scalar"),
        ("table", tables(["a"] * 1000, [[]] * 1000), "1001000 cells of a table; at most 1000000"),
        ("layout", {"layout": "[]"}, "a layout is {category: {chart: [kind, [tag, ...]]}}"),
        ("layout", {"layout": '{"a": 1}'}, "a layout is {category"),
        ("layout", charts(["Multiline"]), "the chart 'c/chart' of a layout is not [kind, [tag, ...]]"),
        ("layout", charts(["Multiline", [1]]), "is not [kind, [tag, ...]]"),
        ("layout", charts(["Margin", ["a", "b"]]), "has 2 tags; a Margin has 3"),
        ("file", {}, "a file without bytes and without a path"),
        ("poem", {"text": "roses"}, "the kind 'poem'; image, video, audio, text"),
        ("text", {}, "text with the sections none; text is accepted"),
        ("text", {"text": "a", "more": "b"}, "text with the sections text, more; text is accepted"),
    ],
)
def test_what_is_wrong_is_told(kind: str, parts: dict[str, Any], told: str) -> None:
    assert told in refusal(kind, **parts)


def test_a_file_that_was_sent_empty_is_not_one_to_be_read_from_its_path() -> None:
    assert dict(encoded("file", {"path": "/there"}, file=b"").options) == {"path": None, "artifact": "there"}
    assert dict(encoded("file", {"path": "/there"}, file=b"x").options) == {}
    assert dict(encoded("file", {"path": "/there"}).options) == {}


def test_no_utf8_and_bodies_that_do_not_fit_are_told() -> None:
    section = Section("text", "text", (3,))
    with pytest.raises(UnfitError, match="text is no UTF-8: invalid start byte at byte 1"):
        encode("text", [section], {}, memoryview(b"a\xff."))
    with pytest.raises(UnfitError, match="sections of 3 bytes in a body of 2"):
        encode("text", [section], {}, memoryview(b"ab"))
    with pytest.raises(UnfitError, match="two sections have the role 'text'"):
        encode("text", [section, section], {}, memoryview(b"abcdef"))


def test_each_kind_of_the_protocol_has_its_encoder() -> None:
    from asynclog_proto.media import KINDS

    for kind in KINDS:
        assert "the kind" not in refusal(kind, unknown=b"")
