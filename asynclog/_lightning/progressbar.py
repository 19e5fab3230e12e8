"""Values for the progress bar, read from the device without waiting for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynclog.tensors import CapturingError, Snapshot, snapshot
from asynclog.values import is_device_tensor


class Readings:
    """Floats of metrics that may lie on a device: those of the last copy that has arrived."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._coming: Snapshot | None = None
        self._arrived: dict[str, float] = {}

    def read(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Floats for `metrics`. One whose first copy is still on its way is left out."""
        device = {name: value for name, value in metrics.items() if is_device_tensor(value)}
        if device:
            self._take()
            if self._coming is None:
                self._ask(device)
                self._take()
        read = {}
        for name, value in metrics.items():
            if name not in device:
                read[name] = value.item() if hasattr(value, "item") else value
            elif name in self._arrived:
                read[name] = self._arrived[name]
        return read

    def _ask(self, device: Mapping[str, Any]) -> None:
        try:
            self._coming, self._names = snapshot(tuple(device.values()), lambda _: None), tuple(device)
        except CapturingError:
            return

    def _take(self) -> None:
        if self._coming is not None and self._coming.ready():
            self._arrived.update(zip(self._names, self._coming.values(), strict=True))
            self._coming = None
