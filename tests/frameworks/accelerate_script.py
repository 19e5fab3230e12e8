"""A loop of Accelerate's on two processes, for torchrun or, with --debug-launcher, started from here.

Each process logs to OUT/logs/x/two: its own loss as a tensor, and its rank as a value that is known.
"""

from __future__ import annotations

import argparse
import faulthandler
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, debug_launcher

from asynclog.accelerate import AsyncLogTracker

STEPS = 20


def loop(out: str, all_ranks: bool, fail: bool) -> None:
    tracker = AsyncLogTracker(
        "x", Path(out) / "logs", name="two", main_process_only=not all_ranks, backends=["csv", "jsonl"]
    )
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("ignored", config={"optimizer": {"lr": 0.1}, "rank": accelerator.process_index})
    tracker.start()
    run: Any = tracker.tracker
    run.define("tokens", reduce="sum")  # on every process, whether it logs or not
    log = tracker.log if all_ranks else accelerator.log
    torch.manual_seed(accelerator.process_index)
    model = torch.nn.Linear(4, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    try:
        for step in range(STEPS):
            loss = model(torch.randn(8, 4)).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            log({"loss": loss.detach(), "rank": accelerator.process_index, "tokens": 32}, step=step)
            if fail and step == STEPS // 2:
                raise RuntimeError("as told")
    finally:
        accelerator.end_training()
        tracker.finish()  # end_training() does it on the main process only
        # A process that ends with gloo's threads at work may be ended by C++ instead ("terminate called without an
        # active exception"): torch asks for this, and accelerate leaves it to its caller.
        accelerator.state.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--all-ranks", action="store_true")
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--debug-launcher", action="store_true")
    told = parser.parse_args()
    faulthandler.dump_traceback_later(60, exit=True)  # a process that hangs says where
    if told.debug_launcher:
        debug_launcher(loop, args=(told.out, told.all_ranks, told.fail), num_processes=2)
    else:
        loop(told.out, told.all_ranks, told.fail)
