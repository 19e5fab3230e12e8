"""Captures a CUDA graph while the sender asks whether a row has come from its device, again and again.

argv: DIRECTORY. Prints a JSON map: how many rows were on their way when their capture began, and what became of all.
A process of its own, for a capture that is spoilt leaves torch's allocator in the middle of it.
"""

from __future__ import annotations

import json
import sys
import time

import torch

import asynclog

CAPTURES, DEADLINE_S = 20, 10.0


def until_read(run: asynclog.Run) -> None:
    """Wait until no row is on its way any more."""
    end = time.monotonic() + DEADLINE_S
    while run.stats.device_pending:
        if time.monotonic() > end:
            raise TimeoutError("the sender does not look at the rows that wait for their device")
        time.sleep(0.005)


def main() -> None:
    run = asynclog.init("p", "run", dir=sys.argv[1], rank=0, world_size=1)
    loss, waited = torch.zeros((), device="cuda"), 0
    loss.add_(1)
    for step in range(CAPTURES):
        loss.fill_(step)
        run.log({"loss": loss}, step=step)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # as it is by default: no thread may call what could disturb it
            loss.add_(1)
            waited += run.stats.device_pending > 0
            until_read(run)
    ledger = run.finish(timeout=60)
    print(json.dumps({"waited": waited, "complete": ledger.complete, "dropped": dict(ledger.dropped)}))


if __name__ == "__main__":
    main()
