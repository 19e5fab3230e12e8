"""Two ranks and every backend at once: each holds the reduced series, by its product's own reader."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from asynclogd import registry
from asynclogd.backends.base import RunInfo
from asynclogd.contractbase import ContractBase
from tests.daemon.backends import (
    test_comet,
    test_contract,
    test_neptune,
    test_parquet,
    test_swanlab,
    test_trackio,
    test_wandb,
)
from tests.e2e.oracle import value

STEPS = 300

READERS: dict[str, ContractBase] = {
    "comet": test_comet.TestComet(),
    "csv": test_contract.TestCsv(),
    "jsonl": test_contract.TestJsonl(),
    "mlflow": test_contract.TestMlflow(),
    "neptune": test_neptune.TestNeptune(),
    "parquet": test_parquet.TestParquetInDuckDB(),
    "swanlab": test_swanlab.TestSwanlab(),
    "tensorboard": test_contract.TestTensorBoard(),
    "trackio": test_trackio.TestTrackio(),
    "wandb": test_wandb.TestWandb(),
}


@pytest.mark.sdk
@pytest.mark.mlflow
@pytest.mark.timeout(240)  # the daemon imports six SDKs
def test_two_ranks_are_reduced_to_the_same_points_in_every_backend(worker, tmp_path: Path) -> None:
    assert sorted(READERS) == registry.names()
    quiet = {"ASYNCLOG_HOST_METRICS_ENABLED": "false"}
    options = ("--world", 2, "--steps", STEPS, "--also", "epoch", "--backends", ",".join(READERS))
    ranks = [worker("--rank", rank, *options, **quiet) for rank in range(2)]
    for rank in ranks:
        assert rank.wait(150) == 0
    run_dir = tmp_path / "p" / "run"
    expected = {
        "loss": {step: [(value(0, step) + value(1, step)) / 2] for step in range(STEPS)},
        "epoch": {step: [float(step)] for step in range(STEPS)},
    }
    for name, reader in READERS.items():
        found: dict[str, dict[int, list[float]]] = {}
        for series, step, number in reader.read(RunInfo("p", "run", run_dir, run_dir / name, 2)):
            found.setdefault(series, defaultdict(list))[step].append(number)
        assert found == expected, name
