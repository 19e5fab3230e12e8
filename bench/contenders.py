"""All that is compared, by the name that `--only` takes, and the environment that they run in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

import peers
from contender import Contender, MessagePack, Walk
from least_daemon import LeastDaemon


class Asynclog(Contender):
    """asynclog with TensorBoard files and its journal, the daemon spawned by the first `init`."""

    label = "asynclog"
    drains_again = False

    def setup(self, directory: Path) -> None:
        import asynclog

        self._run = asynclog.init(project="bench", dir=str(directory), backends=["tensorboard"], rank=0, world_size=1)
        self.log = self._run.log  # type: ignore[method-assign, assignment]  # the bare call: no frame of ours around it
        self._finished = False
        self._run.log({"warm": 0.0})
        while self._run.stats.ring_used:  # nor is the daemon's start: until it has acked
            time.sleep(0.01)

    def drain_until_durable(self) -> None:
        self._finished = True
        ledger = self._run.finish(timeout=120)
        backend = ledger.backends["tensorboard"]
        if not ledger.complete or ledger.dropped or backend.pending or backend.limited or backend.dead:
            raise RuntimeError(f"not every value is in TensorBoard:\n{ledger}")

    def close(self) -> None:
        if not self._finished:
            self.drain_until_durable()

    def extra_pids(self) -> Iterable[int]:
        runtime = os.environ.get("ASYNCLOG_RUNTIME_DIR")
        return [pid for pid in psutil.pids() if pid != os.getpid() and _runs_in(pid, runtime)]


def _runs_in(pid: int, runtime: str | None) -> bool:
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
        return "asynclogd" in command and process.environ().get("ASYNCLOG_RUNTIME_DIR") == runtime
    except psutil.Error:
        return False


CONTENDERS: Mapping[str, type[Contender]] = {
    "empty": Contender,
    "walk": Walk,
    "msgpack": MessagePack,
    "least": LeastDaemon,
    "asynclog": Asynclog,
    "csvlogger": peers.LightningCSV,
    "tensorboardlogger": peers.LightningTensorBoard,
    "summarywriter": peers.SummaryWriter,
    "wandb": peers.WandbOffline,
    "mlflow-async": peers.MlflowAsync,
    "mlflow": peers.MlflowSync,
}

CALM: Mapping[str, str] = {"ASYNCLOG_FLUSH_MS": "100"}
"""As asynclog does while cores are idle, whatever those before it have left the machine to do."""

QUIET: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "PYTHONWARNINGS": "ignore",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Environment of every contender's process: nothing asks the network, nothing chats."""
