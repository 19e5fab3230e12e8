from __future__ import annotations

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asynclogd.backends.base import RunInfo
from asynclogd.backends.tensorboard import TensorBoardBackend, TensorBoardConfig
from asynclogd.testing import BackendContract, Content


class TestTensorBoard(BackendContract):
    def make(self) -> TensorBoardBackend:
        return TensorBoardBackend(TensorBoardConfig())

    def read(self, run: RunInfo) -> Content:
        reader = EventAccumulator(str(run.own_dir), size_guidance={"scalars": 0})
        reader.Reload()
        return [
            (tag, event.step, event.value)
            for tag in reader.Tags()["scalars"]
            if not tag.startswith("summary/")
            for event in reader.Scalars(tag)
        ]

    def stored(self, value: float) -> float:
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float32(value))
