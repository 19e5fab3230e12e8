"""Workers that are forked from a rank, and log by its run, beside a real daemon: the parent's run is whole, a worker is
told once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.oracle import csv_series

pytestmark = pytest.mark.fault("forked")

MULTIPROCESSING = """
import multiprocessing, sys, asynclog

def work(queue):
    for step in range(100):
        run.log({"child": float(step)}, step=step)
    queue.put(run.stats.dropped["after_fork"])

run = asynclog.init("p", "run", dir=sys.argv[1], backends=["csv"])
for step in range(100):
    run.log({"loss": float(step)}, step=step)
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue,))
child.start()
for step in range(100, 200):
    run.log({"loss": float(step)}, step=step)
print("the child dropped", queue.get(timeout=60))
child.join()
print("the child ended with", child.exitcode)
for step in range(200, 300):
    run.log({"loss": float(step)}, step=step)
print(run.finish(timeout=60))
"""

DATA_LOADER = """
import sys, asynclog, torch

class Told(torch.utils.data.Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        run.log({"child": float(index)}, step=index)
        return torch.tensor([float(index), float(run.stats.dropped["after_fork"])])

run = asynclog.init("p", "run", dir=sys.argv[1], backends=["csv"])
step = 0
for epoch in range(3):
    for batch in torch.utils.data.DataLoader(Told(), num_workers=1, multiprocessing_context="fork"):
        run.log({"loss": float(step)}, step=step)
        step += 1
print("the child dropped", int(batch[0, 1]))
print("the child ended with 0")
print(run.finish(timeout=60))
"""


@pytest.mark.parametrize(
    ("script", "children"),
    [
        pytest.param(MULTIPROCESSING, 1, id="multiprocessing"),
        pytest.param(DATA_LOADER, 3, id="dataloader", marks=pytest.mark.torch),
    ],
)
def test_a_worker_that_logs_is_told_once_and_everything_of_the_parent_arrives(
    script: str, children: int, start: Start, tmp_path: Path, output: Callable[[], str]
) -> None:
    """A DataLoader forks a worker for each epoch. Python would show a warning once by itself: here it shows all."""
    rank = start(sys.executable, "-W", "always", "-c", script, tmp_path)
    assert rank.wait(90) == 0, output()
    said = output()
    assert said.count("log() in a forked process") == children
    assert "the child dropped 100\n" in said
    assert "the child ended with 0" in said
    assert "300 values: 300 journaled, 0 pending" in said
    assert csv_series(tmp_path / "p" / "run", "loss") == {step: [float(step)] for step in range(300)}
    assert csv_series(tmp_path / "p" / "run", "child") == {}
