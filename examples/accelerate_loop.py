"""A loop under Hugging Face Accelerate, where every process logs its own values and nothing is gathered.

    python examples/accelerate_loop.py
    torchrun --nproc-per-node 2 examples/accelerate_loop.py    # or: accelerate launch --cpu --num_processes 2 ...

The daemon beside the processes reduces each name over them. See ./asynclog/digits-accelerate/<run name>/ after it.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from asynclog.accelerate import AsyncLogTracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10, help="passes over the 1,797 digits (default 10)")
    options = parser.parse_args()

    tracker = AsyncLogTracker("digits-accelerate", "asynclog", main_process_only=False)
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("digits-accelerate", config=vars(options))

    bunch = load_digits()
    data = TensorDataset(torch.tensor(bunch.data, dtype=torch.float32) / 16, torch.tensor(bunch.target))
    model, optimizer, batches = accelerator.prepare(
        network := nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        torch.optim.AdamW(network.parameters(), lr=3e-3),
        DataLoader(data, batch_size=32, shuffle=True),
    )
    step = 0
    for _ in range(options.epochs):
        for images, labels in batches:
            logits = model(images)
            loss = nn.functional.cross_entropy(logits, labels)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            # On every process, with no gather and no .item(); accelerator.log() would be the main process's alone.
            tracker.log({"train/loss": loss, "train/accuracy": (logits.argmax(1) == labels).float().mean()}, step=step)
            step += 1
    accelerator.end_training()
    tracker.finish()  # end_training() did it on the main process; here the others wait for the files too


if __name__ == "__main__":
    main()
