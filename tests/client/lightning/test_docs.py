"""The page's code runs as it stands, its blocks one after the other in one process, and leaves what the page says."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.client.lightning.modules import MARKS, rows, scalars
from tests.pages import blocks, run_code

pytestmark = [*MARKS, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "lightning.md"
BLOCKS = blocks(PAGE.read_text())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory in which all blocks have run, beside the file that one of them names."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(ROOT / "examples" / "custom_backend.py", folder)
    result = run_code("\n".join([*BLOCKS, "print('reduced', first, last)"]), folder)
    assert "asynclog" not in result.stderr, "the page's code is warned of"
    (folder / "stdout").write_text(result.stdout)
    yield folder
    shutil.rmtree(folder)


def version(page: Path, name: str) -> Path:
    return page / "logs" / name / "version_0"


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) == 13


def test_links_within_the_page_lead_somewhere() -> None:
    text = PAGE.read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors
    for file in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (PAGE.parent / file).exists(), file


def test_the_drop_in_and_the_experiment(page: Path) -> None:
    found = scalars(version(page, "my_model"))
    assert {"train/loss_step", "train/loss_epoch", "train/abs", "train/log", "val_loss", "best", "hp_metric"} <= {
        *found
    }
    assert found["by/hand"] == [(3, 1.0)]
    assert found["custom"] == [(3, 0.5)]
    assert found["single"] == [(3, 0.25)]
    assert len([row for row in rows(version(page, "my_model")) if "train/loss_step" in row]) == 8
    assert yaml.safe_load((version(page, "my_model") / "hparams.yaml").read_text()) == {"lr": 0.1}
    assert list(version(page, "my_model").glob("checkpoints/*.ckpt"))


def test_every_option(page: Path) -> None:
    found = scalars(version(page, "options"))
    assert len(found["both_step"]) == 16
    assert [step for step, _ in found["both_epoch"]] == [7, 15]
    worst = [max(value for step, value in found["both_step"] if step // 8 == epoch) for epoch in (0, 1)]
    assert [value for _, value in found["worst"]] == worst
    assert found["samples"] == [(7, 8.0), (15, 8.0)]
    assert [value for _, value in found["weighed"]] == pytest.approx([value for _, value in found["both_epoch"]])
    assert [step for step, _ in found["task/odd"]] == [*range(1, 8), *range(9, 16)]
    assert found["first_rank"] == found["both_step"]
    assert {"mse", "grad_2.0_norm_total", "val_of_0", "val_of_1"} <= {*found}
    assert {"val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"} <= {*found}
    assert "for_callbacks" not in found


def test_several_loggers_and_monitors(page: Path) -> None:
    assert rows(version(page, "several"))[:8] == rows(version(page, "lightnings_own"))[:8]
    assert (version(page, "several") / "points.jsonl").is_file()
    monitored = scalars(version(page, "monitored"))
    assert [step for step, _ in monitored["lr-SGD"]] == [*range(16)]
    assert [rate for _, rate in monitored["lr-SGD"]] == pytest.approx([0.1] * 16)
    assert any(name.startswith("DeviceStatsMonitor.") for name in monitored)
    assert list(version(page, "monitored").glob("checkpoints/*.ckpt"))


def test_hyperparameters(page: Path) -> None:
    assert scalars(version(page, "tuned"))["hp/accuracy"] == [(0, 0.0), (1, 0.5)]
    written = yaml.safe_load((version(page, "tuned") / "hparams.yaml").read_text())
    assert written == {"lr": 0.1, "optimizer": {"name": "sgd"}}


def test_values_read_back_are_those_in_the_files(page: Path) -> None:
    told = (page / "stdout").read_text().split()
    first, last = map(float, told[-2:])
    losses = [value for _, value in scalars(version(page, "decided"))["val_loss"]]
    assert [losses[0], losses[-1]] == pytest.approx([first, last])


def test_the_own_backend_has_every_point(page: Path) -> None:
    with closing(sqlite3.connect(version(page, "own") / "table" / "points.sqlite")) as table:
        found = table.execute("SELECT value FROM points WHERE name = 'train/loss_step' ORDER BY step").fetchall()
    written = [row["train/loss_step"] for row in rows(version(page, "own")) if "train/loss_step" in row]
    assert [value for (value,) in found] == written
    assert len(written) == 8


def test_fabric(page: Path) -> None:
    found = scalars(version(page, "fabric"))
    assert found["loss"] == [(0, 0.5)]
    assert found["accuracy"] == [(0, 0.25)]
    assert found["tokens"] == [(0, 4096.0)]
    assert found["grad_norm"] == [(0, 1.0)]


def test_what_was_logged_offline_is_delivered_by_sync(page: Path) -> None:
    run = version(page, "offline")
    assert not list(run.glob("events.*"))
    command = [sys.executable, "-m", "asynclogd", "sync", "logs/offline"]
    subprocess.run(command, cwd=page, check=True, capture_output=True, timeout=100)
    assert len(scalars(run)["train/loss_step"]) == 8
    assert [row for row in rows(run) if "train/loss_step" in row]


INTERRUPTED = """
import sys
sys.path.insert(0, ".")
from custom_backend import TableBackend

class Interrupted(Model):
    def training_step(self, batch, index):
        if index == 3:
            raise KeyboardInterrupt
        return super().training_step(batch, index)

logger = AsyncLogger("logs", name="interrupted", backends=["jsonl", TableBackend()])
pl.Trainer(logger=logger, max_epochs=1, log_every_n_steps=1).fit(Interrupted(), train)
"""


def test_ctrl_c_ends_the_run_as_interrupted_and_the_files_are_whole(page: Path) -> None:
    """With the page's model, and a backend that is given as an instance."""
    code = "\n".join([*BLOCKS[:2], INTERRUPTED])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=page, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "graceful shutdown" in done.stderr
    run = version(page, "interrupted")
    lines = [json.loads(line) for line in (run / "points.jsonl").read_text().splitlines()]
    assert [line["end"] for line in lines if "end" in line] == ["interrupted"]
    assert len([line for line in lines if "train/loss_step" in line.get("metrics", {})]) == 3
    with closing(sqlite3.connect(run / "TableBackend" / "points.sqlite")) as table:
        assert table.execute("SELECT count(*) FROM points WHERE name = 'train/loss_step'").fetchone() == (3,)
