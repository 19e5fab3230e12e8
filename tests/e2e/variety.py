"""A rank of two that logs some of everything, for every backend at once; and the oracle of what there must be.

variety.py OUT RANK BACKEND,BACKEND
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import numpy as np

import asynclog

STEPS = 300
PARAMS = {"lr": 0.5, "model/depth": 3, "act": "relu"}
NOTE, NOTE_STEP = "# hello", 21
PICTURE, PICTURE_STEP = np.arange(90, dtype=np.uint8).reshape(5, 6, 3) * 2, 20
ODD = {10: math.nan, 11: math.inf, 12: -math.inf}
LATE_STEP, LATE_FIRST, LATE_THEN = 5, 1.0, 2.0
"""At the run's end one rank logs `late` at an early step, and when that is delivered the other one does."""


def value(rank: int, step: int) -> float:
    """A binary fraction, so that means are exact in float32 too."""
    return rank + (step % 1024) / 1024


def expected() -> dict[str, dict[int, float]]:
    """The points, by name and step, as they are in the end."""
    return {
        "loss": {step: (value(0, step) + value(1, step)) / 2 for step in range(STEPS)},
        "epoch": {step: float(step) for step in range(STEPS)},
        "odd": ODD,
        "late": {30: 7.0, LATE_STEP: LATE_THEN},
    }


def main() -> None:
    out, rank = Path(sys.argv[1]), int(sys.argv[2])
    backends = sys.argv[3].split(",")
    run = asynclog.init("p", "run", PARAMS, str(out), backends, rank=rank, world_size=2)
    for step in range(STEPS):
        run.log({"loss": value(rank, step), "epoch": float(step)}, step=step)
        if step in ODD:
            run.log({"odd": ODD[step]}, step=step)
        if step == 30:
            run.log({"late": 7.0}, step=step)
        if rank == 0 and step == PICTURE_STEP:
            run.log_image("picture", PICTURE, step, caption="a picture")
        if rank == 0 and step == NOTE_STEP:
            run.log_text("note", NOTE, step)
    if rank == 0:
        run.log({"late": LATE_FIRST}, step=LATE_STEP)
        assert run.flush(timeout=100)
        (out / "late").touch()
    else:
        while not (out / "late").exists():
            time.sleep(0.01)
        run.log({"late": 2 * LATE_THEN - LATE_FIRST}, step=LATE_STEP)
    print(run.finish(timeout=100), flush=True)


if __name__ == "__main__":
    main()
