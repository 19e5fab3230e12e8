"""The page's code runs as it stands, its blocks one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.client.lightning.modules import MARKS, rows, scalars

pytestmark = MARKS

PAGE = Path(__file__).parents[3] / "docs" / "lightning.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_pages_blocks_run_and_leave_their_files(tmp_path: Path) -> None:
    assert len(BLOCKS) == 5
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(BLOCKS)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    assert "asynclog:" not in result.stderr
    version = tmp_path / "logs" / "my_model" / "version_0"
    found = scalars(version)
    assert {"train/loss_step", "train/loss_epoch", "val_loss", "by/hand", "custom", "best", "hp_metric"} <= found.keys()
    assert len([row for row in rows(version) if "train/loss_step" in row]) == 8
    assert scalars(tmp_path / "logs" / "fabric" / "version_0")["loss"] == [(0, 0.5)]
