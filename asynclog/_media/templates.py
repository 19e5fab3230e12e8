"""Media items whose like was written before: straight to the one copy, and to a record in which only numbers change.

What is made of an array of NumPy's kind depends on its dtype, its shape and the item's options alone, so a second one
of the same name needs no second look.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from asynclog import knownmedia
from asynclog._media.form import Form
from asynclog._media.pictures import Image, Images, Video
from asynclog._media.series import Audio, Histogram
from asynclog._media.spaces import Embedding
from asynclog.knownmedia import Template
from asynclog_proto import media, wire

MOST = 4096
"""Templates that are kept; names without end are logged by the long way."""

ALIKE = frozenset((Image, Images, Video, Audio, Histogram, Embedding))
"""Items that keep their array first and then their options, and look at no element. A subclass may do otherwise."""

_WIDE = 1 << 63
"""A number that MessagePack writes as a tag and 8 bytes."""


class Templates:
    """By what an item is: its name, its type, its array's dtype and shape, its options. Records have `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self.known: dict[Any, Template] = {}
        """by knownmedia.key_of"""
        self.find = partial(knownmedia.find, self.known, ALIKE)
        self.lay = knownmedia.lay
        self._most_bytes = most_bytes

    def learn(self, metrics: Mapping[Any, Any], forms: Mapping[str, Form]) -> None:
        """Keep the templates of items that have been written."""
        for name, form in forms.items():
            item = metrics.get(name)
            if type(item) not in ALIKE or type(name) is not str or len(form.parts) != 1 or form.is_on_device:
                continue
            key, section = knownmedia.key_of(name, item), form.parts[0].section
            if key is None or key[2] != (section.dtype, section.shape):
                continue
            template = _made(name, form)
            if template.length <= self._most_bytes:
                if len(self.known) >= MOST:
                    self.known.clear()
                self.known[key] = template


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
    return Template(head, middle, end, len(record), part.size, 0 if is_inline else part.size)
