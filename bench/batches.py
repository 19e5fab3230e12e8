"""Batches as a rank's sender makes them, without the time that it takes to log them."""

from __future__ import annotations

import numpy as np

from asynclog_proto import frames
from asynclog_proto.records import ROW, Layout, encode, row_struct

BATCH_BYTES = 128 << 10


class Stream:
    """One rank's batches: the same values again and again, at steps that go on."""

    def __init__(self, rank: int, names: int, logs_per_step: int = 1, steps: int | None = None) -> None:
        """`steps` in a batch; by default as many as make one of 128 KiB."""
        random = np.random.default_rng(rank)
        all_names = [f"train/metric_{index}" for index in range(names)]
        size = -(-names // logs_per_step)
        groups = [tuple(all_names[at : at + size]) for at in range(0, names, size)]
        self.layouts = b"".join(encode(Layout(number, group)) for number, group in enumerate(groups))
        self._layouts = len(groups)
        packers = [row_struct(len(group)) for group in groups]
        step_bytes = sum(packer.size for packer in packers)
        self.steps = steps or max(1, BATCH_BYTES // step_bytes)
        offsets = np.cumsum([0, *(packer.size for packer in packers)])[:-1]
        rows = bytearray()
        for step in range(self.steps):
            for number, (group, packer) in enumerate(zip(groups, packers, strict=True)):
                values = random.normal(size=len(group))
                head = (0x96, ROW, 0xCE, number, 0xD3, step, 0xCB, 1.7e9 + step / 100, 0xCB, 1.0, 0xC6, 8 * len(group))
                rows += packer.pack(*head, *values)
        self._rows = np.frombuffer(rows, np.uint8)
        self._steps = [np.ndarray((self.steps,), ">i8", rows, int(offset) + 8, (step_bytes,)) for offset in offsets]
        self._base = self._steps[0].astype(np.int64)
        self.count = self.steps * len(groups)
        self.scalars = self.steps * names

    def message(self, number: int) -> list[bytes | memoryview]:
        """The frames of batch `number`; the first begins with the layouts."""
        for steps in self._steps:
            steps[:] = self._base + number * self.steps
        if number == 0:
            return frames.encode(frames.Batch(0, self.count + self._layouts), self.layouts + self._rows.tobytes())
        first_seq = self._layouts + number * self.count
        return frames.encode(frames.Batch(first_seq, self.count), self._rows.tobytes())
