"""Two ranks train with Fabric, for the tests. Each logs before they can talk to each other, too.

train_fabric.py OUT STRATEGY [VERSION]
"""

from __future__ import annotations

import sys
from typing import Any

from lightning.fabric import Fabric

from asynclog.lightning import AsyncLogger


def train(fabric: Fabric, logger: AsyncLogger) -> None:
    for step in range(4):
        fabric.log_dict({"rank": float(fabric.global_rank)}, step)
    logger.finalize("success")


def main() -> None:
    out, strategy, *version = sys.argv[1:]
    logger = AsyncLogger(out, version=int(version[0]) if version else None)
    loggers: Any = logger
    fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy, loggers=loggers)
    logger.log_metrics({"before": 1.0}, 0)
    if strategy == "ddp_spawn":
        launch: Any = fabric.launch
        launch(train, logger)
    else:
        fabric.launch()
        train(fabric, logger)


if __name__ == "__main__":
    main()
