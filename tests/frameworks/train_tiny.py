"""The tiny training as a script: python train_tiny.py OUT [what happens]; logs to OUT/logs/x with all file backends."""

from __future__ import annotations

import argparse
import faulthandler
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from tiny import trainer  # type: ignore[import-not-found]  # a neighbour, for a script
from transformers import TrainerCallback

from asynclog.transformers import AsyncLogCallback


class CrashAt(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by mypy
    """Raises once a step is done."""

    def __init__(self, step: int, kind: type[BaseException]) -> None:
        self.step = step
        self.kind = kind

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        if state.global_step == self.step:
            raise self.kind("as told")


def training(out: Path, told: argparse.Namespace, *, all_ranks: bool = False) -> Any:
    ours = AsyncLogCallback(
        "x", told.name, all_ranks=all_ranks, dir=out / "logs", backends=["tensorboard", "csv", "jsonl"]
    )
    crash = CrashAt(told.crash_at, KeyboardInterrupt if told.interrupt else RuntimeError)
    return trainer(
        out / "model", [ours, crash], max_steps=told.steps, save_strategy="steps", save_steps=4,
        eval_strategy="steps", eval_steps=4,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--name")
    parser.add_argument("--crash-at", type=int, default=0)
    parser.add_argument("--interrupt", action="store_true")
    parser.add_argument("--catch", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--all-ranks", action="store_true", help="before it, train in OUT/all, each rank logging")
    told = parser.parse_args()
    faulthandler.dump_traceback_later(60, exit=True)  # a process that hangs says where
    if told.all_ranks:
        training(told.out / "all", told, all_ranks=True).train()
    one = training(told.out, told)
    try:
        one.train(resume_from_checkpoint=told.resume)
    except RuntimeError:
        if not told.catch:
            raise
    # Gloo may hang when a process leaves while another one, which waits for its files, still holds the group.
    one.accelerator.wait_for_everyone()
    one.accelerator.end_training()


if __name__ == "__main__":
    main()
