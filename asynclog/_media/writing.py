"""Media items of `log()` made into records of the ring, by the run's only writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asynclog import steps
from asynclog._media.copies import Copier, DeviceMedia
from asynclog._media.form import Form, formed
from asynclog.bodies import Bodies
from asynclog.ring import Ring
from asynclog.tensors import CapturingError, DeviceQueue
from asynclog.values import Problem
from asynclog_proto.media import Media, Place, encode_media

if TYPE_CHECKING:
    from asynclog._media.templates import Templates
    from asynclog.knownmedia import Known


class MediaWriter:
    """`tell` counts what was lost, `note(key, text)` keeps a warning for when the run's lock is free."""

    def __init__(
        self,
        ring: Ring,
        bodies: Bodies,
        tell: Callable[[Sequence[Problem]], None],
        note: Callable[[object, str], None],
    ) -> None:
        self.bodies = bodies
        self._ring = ring
        self._tell = tell
        self._note = note
        self._templates: Templates | None = None
        """of what was written; none before, and their module neither: numbers don't wait for the classes of media"""
        self._copier = Copier()
        self._entered = self._left = 0
        """bytes of host memory that items from a device were given, by the caller, and gave back, by the sender"""

    def write(self, forms: Mapping[str, Form], step: int, now: float, devices: DeviceQueue) -> None:
        """Write a call's items; those on a device go to `devices`."""
        for name, form in forms.items():
            if form.is_on_device:
                self._fetch(name, form, step, now, devices)
            else:
                self._append(name, form, step, now, wait=True)

    def find(self, metrics: Any) -> Known | None:
        """What `log_known` takes: a call of nothing but media whose like was written before. None for any other."""
        if self._templates is None:
            return None
        try:
            return self._templates.find(metrics)
        except Exception:  # of a value's own code: the long way tells
            return None

    def learn(self, metrics: Mapping[Any, Any], forms: Mapping[str, Form]) -> None:
        """Have `find` know the items of a call that was written."""
        if self._templates is None:
            from asynclog._media.templates import Templates

            self._templates = Templates(self._ring.capacity // 2)
        self._templates.learn(metrics, forms)

    def log_known(self, known: Known, step: Any) -> bool:
        """Write such a call; False, and nothing done, where its step is none that can be taken at once."""
        writer, now = self._ring.writer, time.time()
        step = writer.step + 1 if step is None else step
        if type(step) is not int or not max(writer.highest, 0) <= step <= steps.MOST:
            return False
        writer.issued += len(known[0])
        writer.step = writer.highest = step
        if not self._lay(known, step, now):
            self._ring.tell_issued()  # before any of them is counted as lost
            for _, name, item, _ in known[0]:
                self._append(name, formed(item), step, now, wait=True)
        return True

    def write_arrived(self, item: DeviceMedia, form: Form) -> bool:
        """Write an item that has come from its device, from the sender's thread; False when that has to wait."""
        if self._ring.used > self._ring.capacity // 4 * 3:
            return False
        self._append(item.names[0], form, item.step, item.time, wait=False)
        self.forget(item)
        return True

    def forget(self, item: DeviceMedia) -> None:
        """An item is on its way no more; from the sender's thread."""
        self._left += item.size

    def _append(self, name: str, form: Form, step: int, now: float, *, wait: bool) -> None:
        body = self.bodies.put(form)
        if body is None:
            why = self.bodies.why_not(form)
            self._tell([Problem("media_full", why, f"{why}: they are dropped and counted")])  # each reason once
            return
        sections = tuple([part.section for part in form.parts])
        record = encode_media(Media(name, step, now, form.kind, sections, form.options, body))
        if len(record) > self._ring.capacity // 2 or not self._ring.append(record, wait=wait):
            self.bodies.take_back(body)
            text = "the ring is full, for the daemon and the spool are behind: media are dropped and counted"
            self._tell([Problem("ring_full", "media", text)])

    def _lay(self, known: Known, step: int, now: float) -> bool:
        """Write a call's items one behind the other; False, and nothing done, when there is no room at hand for all."""
        items, length, laid = known
        ring = self._ring
        writer, data = ring.writer, ring.data
        if writer.place + length > writer.limit and not ring.reserve(length, wait=False):
            return False
        memory, position, at = data, 0, 0
        if laid:
            outbox = self.bodies.outbox
            if outbox is None or (claimed := outbox.claim(laid)) is None:
                return False
            memory, (position, at) = outbox.data, claimed
        place = writer.place
        assert self._templates is not None  # `known` is of theirs
        if not self._templates.lay(known, step, now, data, place, memory, at, position):
            self.bodies.take_back(Place(0, position, laid))
            return False
        ring.publish(place + length, len(items))
        return True

    def _fetch(self, name: str, form: Form, step: int, now: float, devices: DeviceQueue) -> None:
        size = 0 if form.fold else form.size
        if size and self._entered - self._left + size > max(self.bodies.capacity, size):
            text = "media of a device come faster than they are read back: they are dropped and counted"
            self._tell([Problem("media_full", "device", text)])
            return
        try:
            arriving = self._copier.fetch(form, lambda text: self._note(("device", text), text))
        except CapturingError:
            self._tell([Problem("device", "", "log() of CUDA tensors inside a graph capture: log them outside")])
            return
        except Exception as error:  # whatever torch raises
            text = f"media of {name!r} could not be read from their device: {error}"
            self._tell([Problem("device", name, text)])
            return
        if devices.put(DeviceMedia((name,), arriving, step, now, size)):
            self._entered += size
            self._ring.rouse()
        else:
            text = "too many rows wait for their device: log device tensors less often"
            self._tell([Problem("device", "", text)])
