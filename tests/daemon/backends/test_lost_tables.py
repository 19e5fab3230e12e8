"""As test_lost.py, of what needs an SDK or pandas to be read."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asynclogd.backends.base import Item, Rewind, RunInfo
from asynclogd.contractbase import ContractBase, Reached
from asynclogd.samples import table
from tests.daemon.backends import test_parquet, test_trackio
from tests.daemon.backends.test_lost import FIRST, SECOND, Harm, expect_again, gone

pytestmark = pytest.mark.sdk


def no_rows(run: RunInfo) -> None:
    """As `trackio.delete_project` or an SQL shell leave it."""
    from trackio.sqlite_storage import SQLiteStorage

    with closing(sqlite3.connect(SQLiteStorage.get_project_db_path(run.project))) as database, database:
        database.execute("DELETE FROM metrics WHERE step < 7")


CASES: dict[str, tuple[type[ContractBase], Harm]] = {
    "parquet-gone": (test_parquet.TestParquetInDuckDB, lambda run: shutil.rmtree(run.own_dir / "points")),
    "parquet-a-part": (test_parquet.TestParquetInDuckDB, gone("points/part-000000000000000.parquet")),
    "trackio-rows": (test_trackio.TestTrackio, no_rows),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_lost_comes_again_and_nothing_is_twice(case: str, tmp_path: Path) -> None:
    expect_again(*CASES[case], tmp_path)


REWOUND: list[Item] = [Rewind(12, 1), table(["a"], [12])]
REVISED: list[Item] = [table(["a", "b"], range(20), 1, revision=True)]


@pytest.mark.parametrize(
    ("changes", "left"), [(REWOUND, [*FIRST, *REWOUND]), (REVISED, REVISED)], ids=["rewound", "revised"]
)
@pytest.mark.parametrize("kind", [test_parquet.TestParquetInDuckDB, test_trackio.TestTrackio])
def test_rows_that_were_superseded_and_a_kill_kept_from_being_committed_are_no_loss(
    kind: type[ContractBase], changes: list[Item], left: list[Item], tmp_path: Path
) -> None:
    contract = kind()
    run = contract._run(tmp_path)
    position = contract._killed(run, None, [FIRST], [])
    contract._killed(run, position, [changes], [])
    backend = contract.make()
    backend.open(run, dict(position))  # starts nothing over
    backend.write(changes)
    reached = Reached.of(backend.flush(), [FIRST, changes])
    contract._killed(run, reached, [SECOND], [])
    contract._check(run, [*left, *SECOND])


@pytest.mark.parametrize("kind", [test_parquet.TestParquetInDuckDB, test_trackio.TestTrackio])
def test_what_is_lost_after_rows_were_superseded_is_a_loss_again(kind: type[ContractBase], tmp_path: Path) -> None:
    contract = kind()
    run = contract._run(tmp_path)
    position = contract._killed(run, None, [FIRST], [])
    position = contract._killed(run, position, [REWOUND], [])
    position = contract._killed(run, position, [SECOND], [])
    harm = no_rows if kind is test_trackio.TestTrackio else gone("points/part-000000000000000.parquet")
    harm(run)
    contract._killed(run, position, [[table(["d"], [30])]], [])
    contract._check(run, [*FIRST, *REWOUND, *SECOND, table(["d"], [30])])
