"""One contender of `bench/media.py` in its own process. argv: CONTENDER DIRECTORY ANSWER CALLS PAUSE_S PACE.

Each call is timed by itself; between calls the process sleeps or computes without the GIL, as a training loop does, and
the contender's threads and processes work. The answer is a JSON map of kind to nanoseconds of each call.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hot_path_process import PACES

WARM_UP_CALLS = 6
SAMPLE_RATE = 44100
Log = Callable[[int], None]


class Inputs:
    """What is logged: a 3x512x512 float image, 1e6 values, 1 s of audio, the 10 tensors of five layers."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.image = torch.rand(3, 512, 512)
        self.values = torch.randn(1_000_000)
        self.audio = torch.rand(1, SAMPLE_RATE) * 2 - 1
        self.module = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(5)))

    def arrays(self) -> dict[str, list[Any]]:
        """The same bytes by kind, as NumPy has them."""
        parameters = [parameter.detach() for parameter in self.module.parameters()]
        kinds = {"image": [self.image], "histogram": [self.values], "audio": [self.audio], "distribution": parameters}
        return {kind: [tensor.numpy() for tensor in tensors] for kind, tensors in kinds.items()}


def copy(inputs: Inputs, _: Path) -> tuple[Mapping[str, Log], Callable[[], object]]:
    """The floor: the bytes copied once, into 64 MiB of memory that is there and is used in turn."""
    memory = np.zeros(64 << 20, np.uint8)
    memory[:] = 1
    at = 0

    def copier(arrays: list[Any]) -> Log:
        def log(_: int) -> None:
            nonlocal at
            for array in arrays:
                at = 0 if at + array.nbytes > len(memory) else at
                np.copyto(memory[at : at + array.nbytes].view(array.dtype).reshape(array.shape), array)
                at += array.nbytes

        return log

    return {kind: copier(arrays) for kind, arrays in inputs.arrays().items()}, lambda: None


def asynclog(inputs: Inputs, directory: Path) -> tuple[Mapping[str, Log], Callable[[], object]]:
    import asynclog

    run = asynclog.init("bench", "media", dir=str(directory), backends=["tensorboard"], rank=0, world_size=1)
    run.log({"warm": 0.0})
    while run.stats.ring_used:  # the daemon's start is not measured
        time.sleep(0.01)

    def finish() -> None:
        ledger = run.finish(timeout=300)
        if ledger.dropped or not ledger.complete:
            raise RuntimeError(f"not everything is in TensorBoard:\n{ledger}")

    return {
        "image": lambda step: run.log_image("image", inputs.image, step),
        "histogram": lambda step: run.log_histogram("histogram", inputs.values, step),
        "audio": lambda step: run.log_audio("audio", inputs.audio, step, sample_rate=SAMPLE_RATE),
        "distribution": lambda step: run.log_distribution(inputs.module, step),
    }, finish


def summarywriter(inputs: Inputs, directory: Path) -> tuple[Mapping[str, Log], Callable[[], object]]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(directory))

    def distribution(step: int) -> None:
        for name, parameter in inputs.module.named_parameters():
            writer.add_histogram(name, parameter, step)

    return {
        "image": lambda step: writer.add_image("image", inputs.image, step),
        "histogram": lambda step: writer.add_histogram("histogram", inputs.values, step),
        "audio": lambda step: writer.add_audio("audio", inputs.audio, step, SAMPLE_RATE),
        "distribution": distribution,
    }, writer.close


def wandb(inputs: Inputs, directory: Path) -> tuple[Mapping[str, Log], Callable[[], object]]:
    import wandb

    run = wandb.init(project="bench", dir=str(directory), mode="offline")

    def distribution(step: int) -> None:
        named = inputs.module.named_parameters()
        run.log({name: wandb.Histogram(parameter.detach().numpy()) for name, parameter in named}, step)

    logs: dict[str, Log] = {
        "image": lambda step: run.log({"image": wandb.Image(inputs.image)}, step),
        "histogram": lambda step: run.log({"histogram": wandb.Histogram(inputs.values.numpy())}, step),
        "distribution": distribution,
    }
    if importlib.util.find_spec("soundfile"):  # wandb.Audio needs it
        logs["audio"] = lambda step: run.log({"audio": wandb.Audio(inputs.audio[0].numpy(), SAMPLE_RATE)}, step)
    return logs, run.finish


def mlflow(inputs: Inputs, directory: Path) -> tuple[Mapping[str, Log], Callable[[], object]]:
    """MLflow has a call for images alone."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{directory / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("bench", str(directory / "artifacts")))
    mlflow.start_run()
    image = inputs.image.permute(1, 2, 0).numpy()
    return {"image": lambda step: mlflow.log_image(image, key="image", step=step)}, mlflow.end_run


CONTENDERS = {each.__name__: each for each in (copy, asynclog, summarywriter, wandb, mlflow)}


def timed(log: Log, calls: int, pace: Callable[[], None], first_step: int) -> list[int]:
    """Nanoseconds of each call, without those that warm up."""
    times = []
    for step in range(first_step, first_step + WARM_UP_CALLS + calls):
        began = time.perf_counter_ns()
        log(step)
        times.append(time.perf_counter_ns() - began)
        pace()
    return times[WARM_UP_CALLS:]


def main() -> None:
    name, directory, answer = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    calls, pause_s, pace = int(sys.argv[4]), float(sys.argv[5]), PACES[sys.argv[6]]
    logs, finish = CONTENDERS[name](Inputs(), directory)
    gc.disable()
    times: dict[str, list[int]] = {}
    for kind, log in logs.items():
        times[kind] = timed(log, calls, lambda: pace(pause_s), (WARM_UP_CALLS + calls) * len(times))
    gc.enable()
    finish()
    answer.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
