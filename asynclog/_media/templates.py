"""Media items whose like was written before: straight to the one copy, and to a record in which only numbers change.

What is made of an array of NumPy's kind depends on its dtype, its shape and the item's options alone, so a second one
of the same name needs no second look. Between two calls a training leaves no cache as it was: each step that is not
taken here saves 5 to 15 us.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from asynclog import hostarrays
from asynclog._media.form import Form, Media
from asynclog._media.pictures import Image, Images, Video
from asynclog._media.series import Audio, Histogram
from asynclog._media.spaces import Embedding
from asynclog_proto import media, wire

MOST = 4096
"""Templates that are kept; names without end are logged by the long way."""

ALIKE = frozenset((Image, Images, Video, Audio, Histogram, Embedding))
"""Items that keep their array first and then their options, and look at no element. A subclass may do otherwise."""

_SIMPLE = frozenset((str, int, float, type(None)))
_WIDE = 1 << 63
"""A number that MessagePack writes as a tag and 8 bytes."""


class Template(NamedTuple):
    """A record that is there but for its step, its time and its body, or where that lies. `pack_into(memory, at, head,
    step, TAG, time, middle)` writes it up to the body; where it lies elsewhere, offset and `end` are arguments too.
    """

    pack_into: Callable[..., None]
    head: bytes
    middle: bytes
    end: bytes
    length: int
    """bytes of the record, with the body where that is in it"""
    size: int
    """bytes of the body"""
    is_inline: bool


TAG = b"\xcb"
"""Ahead of the time."""

Found = tuple[Template, str, Media, Any]
"""The template of an item, its name, itself, its array."""


class Templates:
    """By what an item is: its name, its type, its array's dtype and shape, its options. Records have `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._known: dict[Any, Template] = {}
        self._most_bytes = most_bytes

    def find(self, metrics: Mapping[Any, Any]) -> Sequence[Found]:
        """The templates of a call's items; nothing unless each has one."""
        found = []
        for name, item in metrics.items():
            kind = type(item)
            if kind not in ALIKE:
                return ()
            array, *options = item.__dict__.values()
            if not _SIMPLE.issuperset(map(type, options)):
                return ()
            template = self._known.get((name, kind, hostarrays.look(array), *options))
            if template is None:
                return ()
            found.append((template, name, item, array))
        return found

    def learn(self, metrics: Mapping[Any, Any], forms: Mapping[str, Form]) -> None:
        """Keep the templates of items that have been written."""
        for name, form in forms.items():
            item = metrics.get(name)
            if type(item) not in ALIKE or type(name) is not str or len(form.parts) != 1 or form.is_on_device:
                continue
            array, *options = item.__dict__.values()
            seen, section = hostarrays.look(array), form.parts[0].section
            if seen != (section.dtype, section.shape) or not _SIMPLE.issuperset(map(type, options)):
                continue
            template = _made(name, form)
            if template.length <= self._most_bytes:
                if len(self._known) >= MOST:
                    self._known.clear()
                key = (name, type(item), seen, *options)
                self._known[key] = template


def _made(name: str, form: Form) -> Template:
    """The constants are cut out of a whole record, so that proto's media.py stays the one that knows its bytes."""
    part = form.parts[0]
    is_inline = part.size <= media.INLINE_BYTES
    body = bytes(part.size) if is_inline else media.Place(0, _WIDE, part.size)
    record = media.encode_media(media.Media(name, _WIDE, 0.0, form.kind, (part.section,), form.options, body))
    step = 3 + len(wire.pack(name))  # after the array's tag, the record's kind, the name and the step's tag
    end = b"" if is_inline else wire.pack(part.size)
    until = len(record) - (part.size if is_inline else 8 + len(end))
    head, middle = record[:step], record[step + 17 : until]
    place = "" if is_inline else f"Q{len(end)}s"
    pack_into = struct.Struct(f">{len(head)}sQcd{len(middle)}s{place}").pack_into
    return Template(pack_into, head, middle, end, len(record), part.size, is_inline)
