"""Data-parallel training on real digits, logged on every rank at every step.

    asynclog run -- torchrun --nproc-per-node 2 examples/digits_ddp.py
    torchrun --nproc-per-node 2 examples/digits_ddp.py      # starts a daemon of its own
    python examples/digits_ddp.py                           # one process: no change to the code

Every rank logs its own values; the daemon beside them reduces each name across ranks. There is no all_reduce
for logging, no "if rank == 0", no .item() that waits for the device. See ./asynclog/digits/<run name>/ after it.
"""

from __future__ import annotations

import argparse
import os
import time

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset, TensorDataset

import asynclog


def digits(rank: int, world_size: int) -> tuple[Dataset[object], Dataset[object]]:
    """1,797 hand-written digits, 8x8 pixels: 1,437 to train on, and this rank's share of the other 360."""
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    data = TensorDataset(images, torch.tensor(bunch.target))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    # Shares may differ by one image: the weight given to log() below keeps the mean over ranks exact.
    return Subset(data, order[:1437]), Subset(data, order[1437:][rank::world_size])


def network(width: int = 16) -> nn.Module:
    """Two convolutions and a linear layer: (batch, 1, 8, 8) to (batch, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(2 * width * 16, 10),
    )  # fmt: skip


def train(options: argparse.Namespace, rank: int, world_size: int) -> None:
    # Rank and world size come from torchrun's environment, and so do a daemon's address and a run's name.
    run = asynclog.init(project="digits", config=vars(options))
    # What several ranks log under one name becomes its mean, unless it is said otherwise: here also the band
    # and a series for each rank.
    run.define("train/loss", reduce=["mean", "min", "max"], per_rank=True)
    run.define("train/samples_per_s", reduce="sum")

    training, validation = digits(rank, world_size)
    sampler: DistributedSampler[object] = DistributedSampler(training, world_size, rank, drop_last=True)
    batches = DataLoader(training, options.batch_size, sampler=sampler, drop_last=True)
    model = nn.parallel.DistributedDataParallel(network())
    optimizer = torch.optim.AdamW(model.parameters(), options.lr)
    steps = options.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=steps)
    run.params({"parameters": sum(p.numel() for p in model.parameters()), "steps": steps})

    step = 0
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)
        model.train()
        for images, labels in batches:
            started = time.perf_counter()
            logits = model(images)
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            grad_norm = nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            run.log(
                {
                    "train/loss": loss,  # 0-d tensors go in as they are
                    "train/accuracy": (logits.argmax(1) == labels).float().mean(),
                    "train/grad_norm": grad_norm,
                    "train/lr": schedule.get_last_lr()[0],
                    "train/samples_per_s": len(labels) / (time.perf_counter() - started),  # summed over ranks
                },
                step,
            )
            schedule.step()
            step += 1
        run.log({"epoch": epoch, **evaluate(model, validation)}, step - 1, weight=len(validation))
        if rank == 0:
            print(f"epoch {epoch + 1} of {options.epochs}", flush=True)

    run.finish()  # waits until what was logged is in the journal and in the local files; returns the ledger


def evaluate(model: nn.Module, share: Dataset[object]) -> dict[str, torch.Tensor]:
    """Loss and accuracy on this rank's share of the validation images."""
    images, labels = next(iter(DataLoader(share, batch_size=len(share))))
    model.eval()
    with torch.no_grad():
        logits = model(images)
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"val/loss": nn.functional.cross_entropy(logits, labels), "val/accuracy": accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10, help="passes over the 1,437 digits (default 10)")
    parser.add_argument("--batch-size", type=int, default=16, help="images a rank sees in a step (default 16)")
    parser.add_argument("--lr", type=float, default=4e-3, help="peak of the one-cycle schedule (default 4e-3)")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two ranks share a laptop's cores
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    os.environ.update({name: value for name, value in alone.items() if name not in os.environ})
    dist.init_process_group("gloo")
    train(options, dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
