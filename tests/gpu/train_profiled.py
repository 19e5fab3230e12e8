"""Counts what waits for the GPU in steps of a Trainer, for the tests, in a process of its own: a profiler changes it.

argv: OUT. Prints a JSON map of who logs to calls of the CUDA runtime, by all threads: asynclog; nobody; and Lightning
itself, which has no logger and reads what is for the progress bar.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(TEARDOWN_CUPTI="0", DISABLE_CUPTI_LAZY_REINIT="1")
sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning.pytorch import Callback
from torch.profiler import ProfilerActivity, profile

from tests.gpu.device import torch
from tests.gpu.training import STEPS, AsyncLogger, Model, fitted

sys.path.append(str(Path(__file__).parents[2] / "bench"))  # behind all others: bench/ has names of packages
import gpu_trace

FIRST, LAST = 5, STEPS - 5


class Profiled(Callback):
    """Looks at the steps from FIRST to LAST."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        if index == FIRST:
            torch.cuda.synchronize()
            self.profiled = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
            self.profiled.__enter__()
        if index == LAST:
            torch.cuda.synchronize()
            self.profiled.__exit__(None, None, None)

    def waits(self) -> int:
        found = gpu_trace.seen(gpu_trace.events_of(self.profiled))
        return found.waits + found.waits_beside


def waits(logger: Any, model: Any) -> int:
    seen = Profiled()
    fitted(logger, model, callbacks=[seen])
    return seen.waits()


def main() -> None:
    out = Path(sys.argv[1])
    waits(False, Model(logs=False))  # CUDA's and the profiler's own start
    found = {
        "nobody": waits(False, Model(logs=False)),
        "asynclog": waits(AsyncLogger(out), Model()),
        "lightning": waits(False, Model()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
