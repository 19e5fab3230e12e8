"""One rank of `bench/gpu.py`'s packed all_reduce: what a trainer does that reduces its metrics itself.

argv: ANSWER DEVICE METRICS CALLS. Started by torchrun; rank 0 answers, with what its calls took (ns).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from hot_path_process import busy

PAUSE_S, WARM_UP = 0.001, 50


def packed(values: Sequence[torch.Tensor]) -> list[float]:
    """All in one tensor, one all_reduce, and rank 0 reads the means, to write them."""
    row = torch.stack(list(values))
    dist.all_reduce(row)
    means: list[float] = row.div_(dist.get_world_size()).tolist() if dist.get_rank() == 0 else []
    return means


def main() -> None:
    answer, device, metrics, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    values = [torch.rand((), device=device) for _ in range(metrics)]
    times = []
    for _ in range(WARM_UP + calls):
        busy(PAUSE_S)
        began = time.perf_counter_ns()
        packed(values)
        times.append(time.perf_counter_ns() - began)
    if dist.get_rank() == 0:
        answer.write_text(json.dumps(times[WARM_UP:]))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
