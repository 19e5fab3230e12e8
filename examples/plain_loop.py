"""The smallest run: one process, a dict at each step, nothing to set up.

    python examples/plain_loop.py
    tensorboard --logdir asynclog

The first `init` starts a daemon in the background. It writes TensorBoard and CSV files to
asynclog/hello/<run name>/, and ends by itself when nothing is left to do.
"""

from __future__ import annotations

import math
import random

import asynclog


def main() -> None:
    with asynclog.init(project="hello", config={"optimizer": "none", "noise": 0.05}) as run:
        for step in range(1_000):
            loss = math.exp(-step / 200) + random.gauss(0.0, 0.05)
            run.log({"loss": loss, "lr": 1e-3 * (1 - step / 1_000)})


if __name__ == "__main__":
    main()
