"""A DDP training for the tests: gloo, real gradients; logs its loss and a value known in advance.

    torchrun --nproc-per-node N train_ddp.py OUT STEPS [--crash-at STEP]

With --crash-at, rank 1 of the first attempt kills itself there; every attempt resumes at the step that a
checkpoint names, saved each 10 steps.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import asynclog


def main() -> None:
    out, steps = Path(sys.argv[1]), int(sys.argv[2])
    crash_at = int(sys.argv[4]) if len(sys.argv) > 4 else -1
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    torch.distributed.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(0)  # or its first loss may happen to be smaller than its last
    rank = torch.distributed.get_rank()
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    checkpoint = out / "checkpoint"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    with asynclog.init(project="p", name="ddp", dir=str(out), config={"lr": 0.01}) as run:
        for step in range(first, steps):
            if attempt == 0 and rank == 1 and step == crash_at:
                os.kill(os.getpid(), signal.SIGKILL)
            loss = model(torch.full((8, 4), float(rank))).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss, "known": float(step + 1000 * attempt + rank)}, step=step)
            if rank == 0 and step % 10 == 9:
                checkpoint.write_text(str(step + 1))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
