"""A loop of one's own with Lightning Fabric, where every rank logs its values and nothing is gathered.

    python examples/fabric_digits.py                          # one process
    python examples/fabric_digits.py --devices 2              # Fabric starts the second one
    asynclog run -- torchrun --nproc-per-node 2 examples/fabric_digits.py --devices 2

fabric.log would turn tensors into numbers first, which waits for a GPU: log_metrics takes them as they are. See
./logs/digits-fabric/version_<n>/ after it.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from lightning.fabric import Fabric
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from asynclog.lightning import AsyncLogger


def loaders(batch_size: int) -> tuple[Any, Any]:
    """1,797 hand-written digits, 8x8 pixels: 1,437 to train on, 360 to validate."""
    bunch = load_digits()
    data = TensorDataset(torch.tensor(bunch.data, dtype=torch.float32) / 16, torch.tensor(bunch.target))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    train = DataLoader(Subset(data, order[:1437]), batch_size, shuffle=True, drop_last=True)
    return train, DataLoader(Subset(data, order[1437:]), batch_size)


def validate(model: Any, batches: Any) -> torch.Tensor:
    """The part of this rank's digits that the model knows."""
    with torch.no_grad():
        right = [(model(images).argmax(1) == labels).float() for images, labels in batches]
    return torch.cat(right).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10, help="passes over the digits (default 10)")
    parser.add_argument("--devices", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--batch-size", type=int, default=16, help="images a rank sees in a step (default 16)")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate (default 2e-3)")
    options = parser.parse_args()

    torch.set_num_threads(1)  # two ranks share a laptop's cores
    logger = AsyncLogger("logs", name="digits-fabric")
    fabric = Fabric(accelerator="cpu", devices=options.devices, loggers=logger)
    fabric.launch()
    fabric.seed_everything(0)
    logger.log_hyperparams(vars(options))
    logger.run.define("train/samples", reduce="sum")  # what nobody defines is reduced to the mean

    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    model, optimizer = fabric.setup(network, torch.optim.AdamW(network.parameters(), options.lr))
    train, val = fabric.setup_dataloaders(*loaders(options.batch_size))
    step = 0
    for _ in range(options.epochs):
        for images, labels in train:
            loss = nn.functional.cross_entropy(model(images), labels)
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            logger.log_metrics({"train/loss": loss, "train/samples": len(labels)}, step)
            step += 1
        logger.log_metrics({"val/accuracy": validate(model, val)}, step)
    accuracy = logger.reduced("val/accuracy").result(timeout=30)  # on every rank the same
    logger.finalize("success")  # Fabric never does: here the files are waited for
    if fabric.is_global_zero:
        print(f"validation accuracy of all ranks: {accuracy:.4f}")
        print(f"  tensorboard --logdir {logger.root_dir}")
        print(f"  column -s, -t {logger.log_dir}/metrics.csv | less -S")


if __name__ == "__main__":
    main()
