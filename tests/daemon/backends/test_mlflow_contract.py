from __future__ import annotations

import math

import pytest

from asynclogd.backends._mlflownames import meant
from asynclogd.backends.base import RunInfo
from asynclogd.backends.mlflow import MlflowBackend, MlflowConfig
from asynclogd.testing import BackendContract, Content

pytestmark = pytest.mark.mlflow


class TestMlflow(BackendContract):
    many_names = 2500

    def make(self) -> MlflowBackend:
        return MlflowBackend(MlflowConfig())

    def read(self, run: RunInfo) -> Content:
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{run.own_dir / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(run.project)
        assert experiment is not None
        (found,) = client.search_runs([experiment.experiment_id])
        return [
            (meant(key), metric.step, metric.value)
            for key in found.data.metrics
            for metric in client.get_metric_history(found.info.run_id, key)
        ]

    def stored(self, value: float) -> float:
        """SQL keeps no infinities and no negative zero."""
        return math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value or 0.0
