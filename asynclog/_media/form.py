"""What a media item is made of before it is written: sections whose data lie where the caller has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from asynclog.values import BadValueError
from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclog_proto.frozen import frozen
from asynclog_proto.limits import MAX_MEDIA_BYTES, MAX_MEDIA_OPTIONS, MAX_SECTIONS
from asynclog_proto.media import Option, Section


class Part(NamedTuple):
    """A section, its `size` in bytes, and where these come from: bytes or a memoryview of them, a NumPy array of any
    strides that casts to the section's dtype, or, when `is_on_device`, a tensor of torch.
    """

    section: Section
    data: Any
    size: int
    is_on_device: bool = False

    def of(self, data: Any) -> Part:
        """The same section with its data elsewhere, in this computer's memory."""
        return Part(self.section, data, self.size)


@frozen
class DeviceFold:
    """What a device does to an item's only tensor before it travels, and what is made of the numbers that arrive: its
    sections and options.
    """

    fold: Callable[[Any], Any]
    parts_of: Callable[[Any], tuple[tuple[Part, ...], dict[str, Option]]]


class Form(NamedTuple):
    """One item as it will be recorded. `options` are those of asynclog_proto.media.Media."""

    kind: str
    parts: tuple[Part, ...]
    options: Mapping[str, Option] = MappingProxyType({})
    fold: DeviceFold | None = None

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum([part.size for part in self.parts])

    @property
    def is_on_device(self) -> bool:
        """Whether any part has to be fetched."""
        return any(part.is_on_device for part in self.parts)


class Media:
    """Something to log beside numbers. It keeps what it was given, and looks at it when it is logged.

    No ABC: `log` asks each value whether it is one, and that would cost more than all else it asks.
    """

    KIND: ClassVar[str]

    def form(self) -> Form:
        """The item's sections. Raises BadValueError (asynclog.values) where it can't be one."""
        raise NotImplementedError


class Drawn(Media):
    """One that takes long to make: `draw` does it before the run's lock is taken, and other threads log meanwhile."""

    _made: Form | Exception | None = None

    def draw(self) -> None:
        """Have the next `form` ready."""
        try:
            self._made = self.drawn()
        except Exception as error:  # told when it is asked for
            self._made = error

    def form(self) -> Form:
        """As Media.form."""
        made, self._made = self._made, None
        if isinstance(made, Exception):
            raise made
        return self.drawn() if made is None else made

    def drawn(self) -> Form:
        """As Media.form, and it takes long."""
        raise NotImplementedError


def draw_ahead(metrics: Any) -> None:
    """Draw those values of a call that take long."""
    if type(metrics) is dict:
        for value in tuple(metrics.values()):
            if isinstance(value, Drawn):
                value.draw()


def formed(media: Media) -> Form:
    """The form of an item, which can be recorded. Raises BadValueError, or what a foreign type raises."""
    form = media.form()
    assert len(form.parts) <= MAX_SECTIONS
    if form.size > MAX_MEDIA_BYTES:
        text = f"has {form.size >> 20} MiB: at most {MAX_MEDIA_BYTES >> 20} MiB are accepted"
        raise BadValueError(text, ValueError)
    if all(map(_is_short, form.options.values())):
        return form
    try:
        size = len(wire.pack(dict(form.options)))
    except ProtocolError as error:
        raise BadValueError(f"has a caption or another option that can't travel: {error}", ValueError) from error
    if size > MAX_MEDIA_OPTIONS:
        text = f"has a caption and other options of {size} bytes: at most {MAX_MEDIA_OPTIONS} are accepted"
        raise BadValueError(text, ValueError)
    return form


def _is_short(value: Option) -> bool:
    """Whether an option can travel, without a closer look; a dozen of such are within every limit."""
    return (isinstance(value, str) and len(value) <= _SHORT and value.isascii()) or type(value) in _NUMBERS


_SHORT = 256
_NUMBERS = frozenset((bool, int, float))


def text_part(role: str, text: str) -> Part:
    """A section of UTF-8 text."""
    data = text.encode(errors="replace")
    return Part(Section(role, "text", (len(data),)), data, len(data))


def bytes_part(role: str, data: bytes | memoryview) -> Part:
    """A section of bytes."""
    return Part(Section(role, "bytes", (len(data),)), data, len(data))


def numbers_part(role: str, data: Any) -> Part:
    """A section of float64, of a one-dimensional NumPy array of them."""
    return Part(Section(role, "float64", (len(data),)), data, 8 * len(data))
