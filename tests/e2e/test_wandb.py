"""Two ranks, a daemon that is killed, and W&B: its file and what its uploader has sent, beside what was logged."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.backends import wandbreader
from tests.daemon.backends.wandbserver import KEY, serving
from tests.e2e.daemons import alive, daemon_pid
from tests.e2e.oracle import value

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(120)]

STEPS = 600

# By its class: a name of an installed entry point is another test's.
RANK = """
import json, sys, time
from pathlib import Path
import numpy as np
import asynclog
out, rank, steps, options = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
given = {"class": "asynclogd.backends.wandb:WandbBackend", "subdir": "wandb", **options}
run = asynclog.init(project="p", name="r", dir=str(out), rank=rank, world_size=2, backends={"tracker": given})
run.params({"lr": 0.5})
for step in range(steps):
    run.log({"loss": rank + step % 1024 / 1024}, step=step)
    if rank == 0 and step == steps // 2:
        run.log_image("picture", np.zeros((3, 4, 4), np.uint8), step=step)
        while not (out / "killed").exists():
            time.sleep(0.01)
run.finish()
"""


def test_a_run_of_two_ranks_is_at_wandb_once(
    tmp_path: Path, start, runtime_dir: Path, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with serving() as server:
        options = json.dumps({"mode": "online", "host": server.url})
        ranks = [start(sys.executable, "-c", RANK, tmp_path, rank, STEPS, options) for rank in range(2)]
        eventually(lambda: daemon_pid(runtime_dir) and alive(daemon_pid(runtime_dir)), 60, "there is a daemon")
        eventually(lambda: list(tmp_path.glob("p/r/wandb/*run-*/*.wandb")), 60, "there is a .wandb file")
        os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
        (tmp_path / "killed").touch()
        assert [rank.wait(90) for rank in ranks] == [0, 0]
        eventually(lambda: server.exit_code is not None, 60, "all is sent")
    expected = [("loss", step, (value(0, step) + value(1, step)) / 2) for step in range(STEPS)]
    file = wandbreader.file_of(tmp_path / "p" / "r" / "wandb")
    assert sorted(wandbreader.points(file)) == expected
    assert sorted(("loss", row["step"], row["loss"]) for row in server.rows.values() if "loss" in row) == expected
    (picture,) = [row["picture"] for row in server.rows.values() if "picture" in row]
    assert server.files[picture["path"]].startswith(b"\x89PNG")
    assert server.exit_code == 0
    (run_id,) = server.runs
    assert server.config(run_id)["lr"] == 0.5
