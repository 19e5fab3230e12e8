"""Tests that import an SDK at their top are left out where it is missing: on the Pythons of .ci/other-pythons."""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = {"test_parquet*.py": ("duckdb", "pandas", "pyarrow")}

collect_ignore_glob = [tests for tests, modules in NEEDS.items() if not all(map(find_spec, modules))]
