"""SummaryWriter with one import line changed: a small network, and every kind of thing that TensorBoard shows.

    pip install "asynclogd[torch]" scikit-learn matplotlib
    python examples/summary_writer.py
    tensorboard --logdir runs

The script is what it would be with torch's writer. Its calls copy and return; the daemon draws and writes the files.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

from asynclog import SummaryWriter  # was: from torch.utils.tensorboard import SummaryWriter


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """(1797, 1, 8, 8) images of 0 to 1, and (1797,) labels."""
    found = load_digits()
    return torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target)


def train(writer: SummaryWriter, model: nn.Module, steps: int, lr: float) -> torch.Tensor:
    """Log numbers and distributions as it goes; the probabilities (1797, 10) in the end."""
    images, labels = digits()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        batch = torch.randint(len(images), (64,))
        scores = model(images[batch])
        loss = nn.functional.cross_entropy(scores, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        writer.add_scalar("train/loss", loss, step)
        hits = (scores.argmax(1) == labels[batch]).float()
        writer.add_scalars("accuracy of", {"low": hits[labels[batch] < 5].mean(), "all": hits.mean()}, step)
        if step % 20 == 0:
            for name, parameter in model.named_parameters():
                writer.add_histogram(f"weights/{name}", parameter, step)
                writer.add_histogram(f"gradients/{name}", parameter.grad, step)
    with torch.no_grad():
        return model(images).softmax(1)


def show(writer: SummaryWriter, model: nn.Module, probabilities: torch.Tensor, step: int) -> None:
    """Log one of each kind."""
    images, labels = digits()
    writer.add_graph(model, images[:1])
    writer.add_image("one digit", images[0], step)
    writer.add_images("digits", images[:32], step)
    large = nn.functional.interpolate(images[:1], scale_factor=8)[0]
    writer.add_image_with_boxes("boxed", large, torch.tensor([[8.0, 4, 52, 60]]), step, labels=[str(int(labels[0]))])
    writer.add_figure("probabilities", bars(probabilities[0]), step)
    writer.add_video("spin", torch.stack([large.rot90(turn, (1, 2)) for turn in range(4)])[None], step, fps=4)
    writer.add_audio("a tone", torch.sin(torch.arange(8000) * 2 * math.pi * 440 / 8000), step, sample_rate=8000)
    writer.add_text("notes", "**Adam** on the digits of scikit-learn.", step)
    writer.add_pr_curve("is a 3", labels == 3, probabilities[:, 3], step)
    writer.add_embedding(probabilities[:200], [str(int(label)) for label in labels[:200]], images[:200], step)
    writer.add_mesh("a pyramid", *pyramid(), global_step=step)
    writer.add_tensor(
        "confusion", torch.bincount(labels * 10 + probabilities.argmax(1), minlength=100).view(10, 10), step
    )
    writer.add_custom_scalars_multilinechart(["train/loss"], "overview", "loss")


def bars(probabilities: torch.Tensor) -> Any:
    """A figure of ten bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2))
    figure.subplots().bar(range(10), probabilities.tolist())
    return figure


def pyramid() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vertices, colors and faces, (1, n, 3) each."""
    vertices = torch.tensor([[[1.0, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1]]])
    colors = torch.tensor([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 255]]])
    return vertices, colors, torch.tensor([[[0, 2, 3], [0, 3, 1], [0, 1, 2], [1, 3, 2]]])


def trial(writer: SummaryWriter, steps: int, lr: float) -> None:
    """Train a network, show it, and compare it in the HParams tab."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    probabilities = train(writer, model, steps, lr)
    accuracy = (probabilities.argmax(1) == digits()[1]).float().mean()
    began = time.perf_counter()
    show(writer, model, probabilities, steps)
    print(f"lr {lr}: accuracy {accuracy:.3f}, every kind logged in {time.perf_counter() - began:.2f} s")
    writer.add_hparams({"lr": lr, "optimizer": "adam"}, {"hparam/accuracy": accuracy}, run_name=f"lr={lr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="of each trial (default: 200)")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-2, 1e-3], help="a trial each (default: 0.01 0.001)")
    options = parser.parse_args()
    torch.manual_seed(0)
    writer = SummaryWriter()
    for lr in options.lr:
        trial(writer, options.steps, lr)
    writer.close()
    print(f"the files are in {writer.log_dir}: tensorboard --logdir runs")


if __name__ == "__main__":
    main()
