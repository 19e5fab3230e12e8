"""The loggers that people use, offline, as their documentation has them used; imported in `setup` only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contender import Contender, Scalars


class SummaryWriter(Contender):
    label = "torch SummaryWriter"
    is_peer = True
    rows_share = 0.1

    def setup(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter as Writer

        self._writer: Any = Writer(str(directory))

    def log(self, row: Scalars, step: int) -> None:
        add_scalar = self._writer.add_scalar
        for name, value in row.items():
            add_scalar(name, value, step)

    def drain_until_durable(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class LightningCSV(Contender):
    label = "Lightning CSVLogger"  # keeps rows in memory, writes at every 100th step
    is_peer = True

    def setup(self, directory: Path) -> None:
        from lightning.pytorch.loggers import CSVLogger

        self._logger: Any = CSVLogger(str(directory))

    def log(self, row: Scalars, step: int) -> None:
        self._logger.log_metrics(row, step)

    def drain_until_durable(self) -> None:
        self._logger.save()

    def close(self) -> None:
        self._logger.finalize("success")


class LightningTensorBoard(Contender):
    label = "Lightning TensorBoardLogger"
    is_peer = True
    rows_share = 0.1

    def setup(self, directory: Path) -> None:
        from lightning.pytorch.loggers import TensorBoardLogger

        self._logger: Any = TensorBoardLogger(str(directory))

    def log(self, row: Scalars, step: int) -> None:
        self._logger.log_metrics(row, step)

    def drain_until_durable(self) -> None:
        self._logger.experiment.flush()

    def close(self) -> None:
        self._logger.finalize("success")


class WandbOffline(Contender):
    label = "W&B offline"
    is_peer = True
    rows_share = 0.1
    drains_again = False

    def setup(self, directory: Path) -> None:
        import wandb

        self._run: Any = wandb.init(project="bench", dir=str(directory), mode="offline")

    def log(self, row: Scalars, step: int) -> None:
        self._run.log(row, step=step)

    def drain_until_durable(self) -> None:
        # There is no flush. finish() was seen to return before the file was complete: in W&B's favour.
        self._run.finish()

    def close(self) -> None:
        self._run.finish()


class MlflowSync(Contender):
    label = "MLflow"
    is_peer = True
    paced_share = 0.1
    rows_share = 0.006
    synchronous = True

    def setup(self, directory: Path) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        # One database for all the runs of this process: it takes seconds to make.
        database = directory.parent / "mlflow.db"
        mlflow.set_tracking_uri(f"sqlite:///{database}")
        if not database.exists():
            mlflow.create_experiment("bench", artifact_location=(directory.parent / "artifacts").as_uri())
        mlflow.set_experiment("bench")
        mlflow.start_run()

    def log(self, row: Scalars, step: int) -> None:
        self._mlflow.log_metrics(row, step=step, synchronous=self.synchronous)

    def drain_until_durable(self) -> None:
        if not self.synchronous:
            self._mlflow.flush_async_logging()

    def close(self) -> None:
        self._mlflow.end_run()


class MlflowAsync(MlflowSync):
    label = "MLflow synchronous=False"
    paced_share = 0.2
    rows_share = 0.01
    synchronous = False
