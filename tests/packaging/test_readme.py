"""The README's code runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import blocks

README = Path(__file__).parents[2] / "README.md"
BLOCKS = blocks(README.read_text())


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs_without_a_warning_and_leaves_its_files(block: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert all(line.startswith("asynclog: logging to ") for line in result.stderr.splitlines())
    runs = list((tmp_path / "asynclog" / "demo").iterdir())
    assert len(runs) == 1
    assert (runs[0] / "csv" / "metrics.csv").read_text().count("\n") > 1
    assert list((runs[0] / "tensorboard").glob("events.out.tfevents.*"))
