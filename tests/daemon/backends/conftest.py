"""Tests of backends whose SDK is not there are left out: the Pythons of .ci/other-pythons have none of them."""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = {
    "test_parquet*.py": ("duckdb", "pandas", "pyarrow"),
    "test_swanlab*.py": ("swanlab",),
    "test_trackio*.py": ("trackio",),
}

collect_ignore_glob = [tests for tests, modules in NEEDS.items() if not all(map(find_spec, modules))]
