"""The code of docs/frameworks.md runs as it stands, its blocks one after another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frameworks.conftest import HERE
from tests.pages import blocks

pytest.importorskip("transformers")

pytestmark = [pytest.mark.torch, pytest.mark.timeout(180)]

PAGE = HERE.parents[1] / "docs" / "frameworks.md"
SECTIONS = {text.partition(":")[0]: blocks(text) for text in PAGE.read_text().split("\n## ")[1:]}


def test_each_framework_has_its_code() -> None:
    assert {name: len(blocks) for name, blocks in SECTIONS.items()} == {"transformers": 2, "accelerate": 3}


def test_the_code_runs_without_a_warning_and_leaves_its_files(script, tmp_path: Path) -> None:
    """One process for all sections: most of its time goes into importing the frameworks."""
    told = script("-W", "error", "-c", "\n".join(block for section in SECTIONS.values() for block in section))
    ours = [line for line in told.splitlines() if "asynclog" in line]
    assert all(line.startswith("asynclog: logging to ") for line in ours)
    runs = list((tmp_path / "asynclog" / "demo").iterdir())
    assert len(runs) == 1 + 3  # of transformers, of accelerate
    assert all((run / "csv" / "metrics.csv").read_text().count("\n") > 1 for run in runs)
