"""Arrays that lie on a device, copied to this computer's memory without waiting for it.

On the caller's stream there is only a copy within the device (or a histogram's counting), so that what the next step
writes does not change the item. The way to the host is on a stream of its own, beside the training.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from asynclog import tensors
from asynclog._media.form import Form, Part
from asynclog_proto.frozen import frozen


@frozen
class Arriving:
    """A form of which some parts are on their way; `events` happen when they are here."""

    coming: Form
    events: tuple[Any, ...]

    def ready(self) -> bool:
        """Whether `values` would not wait. Raises what the device reports, if it broke."""
        return all(event.query() for event in self.events)

    def values(self) -> Form:
        """The form with all its parts in this computer's memory, once `ready`."""
        form = self.coming
        if form.fold is not None:
            parts, options = form.fold.parts_of(form.parts[0].data.numpy())
            return Form(form.kind, parts, {**form.options, **options})
        return form._replace(parts=tuple(map(_as_numpy, form.parts)))


@frozen
class DeviceMedia:
    """A media item whose body is on its way: an entry of tensors.DeviceQueue. `size` is in bytes of host memory."""

    names: tuple[str]
    snapshot: Arriving
    step: int
    time: float
    size: int


class Copier:
    """Enqueues copies; keeps one stream a device."""

    def __init__(self) -> None:
        self._sides: dict[Any, Any] = {}

    def fetch(self, form: Form, tell: Callable[[str], None]) -> Arriving:
        """Enqueue the copying of a form's device tensors. Raises CapturingError, or what torch raises."""
        torch = sys.modules["torch"]
        parts, events = [], []
        with torch.no_grad():
            for part in form.parts:
                if not part.is_on_device:
                    parts.append(part.of(_own(part.data)))
                    continue
                memory, event = self._enqueue(torch, part, form, tell)
                parts.append(part.of(memory))
                events.append(event)
        return Arriving(form._replace(parts=tuple(parts)), tuple(events))

    def _enqueue(self, torch: Any, part: Part, form: Form, tell: Callable[[str], None]) -> tuple[Any, Any]:
        tensor = part.data
        device = tensor.device
        tensors.check_not_capturing(torch, device)
        event = tensors.new_event(torch, device)
        with tensors.on_device(torch, device):
            if form.fold is not None:
                kept = form.fold.fold(tensor)
            else:
                kept = tensor.detach().to(getattr(torch, part.section.dtype), copy=True)
            if event is None:
                tell(f"torch has no events for {device.type}: each media item of its tensors waits for the device")
                return kept.cpu(), tensors.Arrived()
            with self._beside(torch, device, kept):
                memory = torch.empty(kept.shape, dtype=kept.dtype, pin_memory=device.type in {"cuda", "xpu"})
                memory.copy_(kept, non_blocking=True)
                event.record()
        return memory, event

    def _beside(self, torch: Any, device: Any, kept: Any) -> Any:
        """The device's side stream, after all that the caller's has so far; where there are none, the caller's."""
        if device.type != "cuda":
            return tensors.on_device(torch, device)
        side = self._sides.get(device)
        if side is None:
            side = self._sides[device] = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        kept.record_stream(side)  # its memory is not given to others before the copy is done
        return torch.cuda.stream(side)


def _own(data: Any) -> Any:
    """Data in this computer's memory that wait for others of their item: the caller may change its own meanwhile."""
    return data if isinstance(data, bytes) else data.copy() if hasattr(data, "copy") else bytes(data)


def _as_numpy(part: Part) -> Part:
    """bfloat16 as its bits: NumPy has none."""
    tensor = part.data
    if not hasattr(tensor, "numpy"):
        return part
    bits = tensor.view(sys.modules["torch"].int16) if part.section.dtype == "bfloat16" else tensor
    return part.of(bits.numpy())
