"""As test_spoiled.py, of what needs an SDK or pandas to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from asynclogd.backends.base import RunInfo
from asynclogd.contractbase import ContractBase
from tests.daemon.backends import test_parquet, test_swanlab
from tests.daemon.backends.test_spoiled import HARMS, LEARNT, Reader, expect_again

pytestmark = pytest.mark.sdk


def of_parquet(run: RunInfo) -> dict[str, Any]:
    rows = pq.read_table(run.own_dir / "params.parquet").to_pylist()
    return {row["name"]: row["value"] if row["number"] is None else row["number"] for row in rows}


def of_swanlab(run: RunInfo) -> dict[str, Any]:
    config = yaml.safe_load((run.own_dir / "files" / "config.yaml").read_bytes())
    return {name: config[name]["value"] for name in LEARNT}


CASES: dict[str, tuple[type[ContractBase], str, Reader]] = {
    "parquet": (test_parquet.TestParquetInDuckDB, "params.parquet", of_parquet),
    "parquet-summary": (test_parquet.TestParquetInDuckDB, "summary.parquet", of_parquet),
    "swanlab": (test_swanlab.TestSwanlab, "files/config.yaml", of_swanlab),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("case", CASES)
def test_all_that_was_delivered_comes_again(case: str, harm: str, tmp_path: Path) -> None:
    expect_again(*CASES[case], harm, tmp_path)
