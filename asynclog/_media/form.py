"""What a media item is made of before it is written: sections whose data lie where the caller has them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from asynclog.values import BadValueError
from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclog_proto.limits import MAX_MEDIA_BYTES, MAX_MEDIA_OPTIONS, MAX_SECTIONS
from asynclog_proto.media import Option, Section


@dataclass(frozen=True, slots=True)
class Part:
    """A section and where its bytes come from: bytes or a memoryview of them, a NumPy array of any strides that casts
    to the section's dtype, or a tensor of torch that lies on a device.
    """

    section: Section
    data: Any


@dataclass(frozen=True, slots=True)
class DeviceFold:
    """What a device does to an item's only tensor before it travels, and what is made of the numbers that arrive: its
    sections and options.
    """

    fold: Callable[[Any], Any]
    parts_of: Callable[[Any], tuple[tuple[Part, ...], dict[str, Option]]]


@dataclass(frozen=True, slots=True)
class Form:
    """One item as it will be recorded. `options` are those of asynclog_proto.media.Media."""

    kind: str
    parts: tuple[Part, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    fold: DeviceFold | None = None

    @property
    def sections(self) -> tuple[Section, ...]:
        """Of all parts, in their order."""
        return tuple(part.section for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(part.section.size for part in self.parts)


class Media(abc.ABC):
    """Something to log beside numbers. It keeps what it was given, and looks at it when it is logged."""

    KIND: ClassVar[str]

    @abc.abstractmethod
    def form(self) -> Form:
        """The item's sections. Raises BadValueError (asynclog.values) where it can't be one."""


def formed(media: Media) -> Form:
    """The form of an item, which can be recorded. Raises BadValueError, or what a foreign type raises."""
    form = media.form()
    if form.size > MAX_MEDIA_BYTES or len(form.parts) > MAX_SECTIONS:
        text = f"has {form.size >> 20} MiB: at most {MAX_MEDIA_BYTES >> 20} MiB are accepted"
        raise BadValueError(text, ValueError)
    try:
        size = len(wire.pack(dict(form.options)))
    except ProtocolError as error:
        raise BadValueError(f"has a caption or another option that can't travel: {error}", ValueError) from error
    if size > MAX_MEDIA_OPTIONS:
        text = f"has a caption and other options of {size} bytes: at most {MAX_MEDIA_OPTIONS} are accepted"
        raise BadValueError(text, ValueError)
    return form


def text_part(role: str, text: str) -> Part:
    """A section of UTF-8 text."""
    data = text.encode(errors="replace")
    return Part(Section(role, "text", (len(data),)), data)


def bytes_part(role: str, data: bytes | memoryview) -> Part:
    """A section of bytes."""
    return Part(Section(role, "bytes", (len(data),)), data)
