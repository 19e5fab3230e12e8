"""A job whose GPU breaks: an index beyond its tensor, which only the device knows.

argv: DIRECTORY DEVICE. It logs ten steps that are in the files then, and goes on to log until it hears of the fault.
"""

from __future__ import annotations

import sys

import torch

import asynclog


def main() -> None:
    directory, device = sys.argv[1:]
    run = asynclog.init("p", "run", dir=directory, rank=0, world_size=1)
    loss = torch.zeros((), device=device)
    for step in range(10):
        loss.fill_(step)
        run.log({"loss": loss}, step=step)
    assert run.flush(timeout=60)
    print("flushed", flush=True)
    if device != "cuda":
        raise RuntimeError("device-side assert triggered")
    torch.zeros(4, device=device)[torch.tensor([100], device=device)]
    for step in range(10, 20):
        run.log({"loss": loss}, step=step)
    run.log_histogram("values", torch.zeros(1000, device=device), 20)
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
