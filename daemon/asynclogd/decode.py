"""From a batch's bytes to tables of numbers: what one stream said, in order.

Rows of one layout have one length, so a run of them is a table that NumPy reads where it lies. Rows of several
layouts that alternate (two `log()` calls a step) are sorted into one table a layout. Where layouts have names in
common, there is a table for each stretch of one layout instead, in order: a row stays whole (an epoch's number
beside the values of each call, say). When such stretches are many, the names in common are taken out of the layouts
into a table of their own, in the order in which they were logged. So a series always comes in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Union

from asynclog_proto import records
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.limits import MAX_BATCH_BYTES, MAX_STREAM_LAYOUTS
from asynclogd.regroup import Regroup
from asynclogd.rows import Rows
from asynclogd.segment import Segment, Shape

__all__ = ["Decoded", "MediaAt", "Rows", "StreamDecoder"]


class MediaAt(NamedTuple):
    """A MEDIA record, and how many records of its payload are before it: the number that names it among its stream's
    is reckoned from that.
    """

    place: int
    record: records.Media


Decoded = Union[  # noqa: UP007 - evaluated at run time on 3.10
    Rows,
    records.Define,
    records.Params,
    records.Summary,
    records.End,
    records.Pass,
    records.Hold,
    records.Rewind,
    MediaAt,
]

_ROW = b"\x96\x01"


class StreamDecoder:
    """Decodes the batches of one stream. `layouts` are those that the stream named in earlier batches."""

    def __init__(self, layouts: Mapping[int, tuple[str, ...]] | None = None) -> None:
        self.layouts = dict(layouts or {})
        """names by layout number, of all layouts so far: what a new decoder needs to go on"""
        self.records = 0
        """how many records the last payload held, skipped ones included"""
        self._shapes: dict[int, Shape] = {}
        self._regroup = Regroup()

    def decode(self, payload: bytes | memoryview, skip: int = 0, count: int | None = None) -> list[Decoded]:
        """What the payload's records say after the first `skip` of them; layouts count wherever they are.

        `count` is how many records there ought to be. Raises ProtocolError, and nothing else, for a payload that
        does not fit; the decoder is then as before.
        """
        if len(payload) > MAX_BATCH_BYTES:
            raise LimitError(f"a payload of {len(payload)} bytes; at most {MAX_BATCH_BYTES} are allowed")
        for number in self.layouts.keys() - self._shapes.keys():
            self._shapes[number] = Shape(number, self.layouts[number])
        reading = _Reading(memoryview(payload), self._shapes, self._regroup, skip)
        decoded = reading.run()
        if reading.seen < skip:
            raise ProtocolError(f"a payload of {reading.seen} records where {skip} are to be skipped")
        if count is not None and reading.seen != count:
            raise ProtocolError(f"a batch of {count} records whose payload holds {reading.seen}")
        self._shapes.update(reading.new)
        self.layouts.update((number, shape.names) for number, shape in reading.new.items())
        self.records = reading.seen
        return decoded


class _Reading:
    """One pass over one payload; `new` are the layouts that it names."""

    def __init__(self, view: memoryview, known: dict[int, Shape], regroup: Regroup, skip: int) -> None:
        self._view = view
        self._known = known
        self._regroup = regroup
        self._skip = skip
        self._segment = Segment(view)
        self._decoded: list[Decoded] = []
        self.new: dict[int, Shape] = {}
        self.seen = 0

    def run(self) -> list[Decoded]:
        view, at = self._view, 0
        while at < len(view):
            at = self._rows(at) if view[at : at + 2] == _ROW else self._other(at)
        self._flush()
        return self._decoded

    def _rows(self, at: int) -> int:
        shape = self._shape_at(at)
        if self.seen < self._skip:
            # Its head is checked nevertheless: a payload is good or bad as a whole.
            count = min(self._segment.run_length(at, shape), self._skip - self.seen)
            self._segment.check(at, shape, count)
            self.seen += count
            return at + count * shape.size
        end, count = self._segment.take(at, shape)
        self.seen += count
        return end

    def _shape_at(self, at: int) -> Shape:
        view = self._view
        if at + 7 > len(view):
            raise ProtocolError("a row is cut short")
        if view[at + 2] != 0xCE:
            raise ProtocolError("a row has one encoding only: every field at its full width")
        number = int.from_bytes(view[at + 3 : at + 7], "big")
        shape = self._find(number)
        if shape is None:
            raise ProtocolError(f"a row of layout {number}, which the stream has not named")
        if at + shape.size > len(view):
            raise ProtocolError("a row is cut short")
        return shape

    def _find(self, number: int) -> Shape | None:
        return self._known.get(number) or self.new.get(number)

    def _other(self, at: int) -> int:
        end = records.record_end(self._view, at)
        try:
            record = records.decode(self._view[at:end])
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"a record is malformed: {error}") from error
        self.seen += 1
        if isinstance(record, records.Layout):
            self._layout(record)
            self._segment.interrupt()
        elif isinstance(record, records.Row):
            raise ProtocolError("a row has one encoding only: every field at its full width")
        elif isinstance(record, records.Media):
            self._segment.interrupt()  # rows before and after it stay one table
            if self.seen > self._skip:
                self._decoded.append(MediaAt(self.seen - 1, record))
        elif self.seen > self._skip:
            self._flush()
            self._decoded.append(record)
        return end

    def _layout(self, layout: records.Layout) -> None:
        shape = self._find(layout.layout)
        if shape is not None:
            if shape.names != layout.names:
                raise ProtocolError(f"layout {layout.layout} is named again, differently")
            return
        if len(self._known) + len(self.new) >= MAX_STREAM_LAYOUTS:
            raise LimitError(f"a stream names at most {MAX_STREAM_LAYOUTS} layouts")
        self.new[layout.layout] = Shape(layout.layout, layout.names)

    def _flush(self) -> None:
        self._decoded.extend(self._regroup.tables(self._segment))
        self._segment = Segment(self._view)
