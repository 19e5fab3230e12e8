"""Tests that import an SDK at their top are left out where it is missing: on the Pythons of .ci/other-pythons. And what
several files share.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

NEEDS = dict.fromkeys(
    ("test_parquet*.py", "test_lost_tables.py", "test_spoiled_tables.py"), ("duckdb", "pandas", "pyarrow")
)

collect_ignore_glob = [tests for tests, modules in NEEDS.items() if not all(map(find_spec, modules))]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of one database of MLflow's for all tests that need no other: making one takes MLflow seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'shared.db'}"
