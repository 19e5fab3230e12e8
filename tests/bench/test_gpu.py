"""bench/gpu.py as far as it goes without a GPU: its code on the CPU, what it says without CUDA, and what it makes of a
profiler's trace and of rows.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.bench.conftest import BENCH, Script

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def started(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "gpu.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
def report(script: Script) -> ModuleType:
    return script("gpu_report")


@pytest.fixture
def trace(script: Script) -> ModuleType:
    return script("gpu_trace")


def test_every_way_to_log_is_measured_and_all_is_delivered() -> None:
    done = started("--device", "cpu", "--quick", "--json", "-")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))
    by_what: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_what.setdefault(row["what"], {})[row["way"]] = row
    assert {what: list(ways) for what, ways in by_what.items()} == {
        "step": ["none", "items", "stacked", "asynclog"],
        "scalars": ["pauses", "steps"],
        "histogram": ["asynclog", "summarywriter"],
        "ledger": ["asynclog"],
    }
    for way, row in by_what["step"].items():
        assert row["step_us"] > 0
        assert row["blocks"] == (7 if way == "none" else 2)
        assert way == "none" or 0 < row["call_us"] <= row["call_p99_us"]
    ledger = by_what["ledger"]["asynclog"]
    assert ledger["complete"]
    assert ledger["dropped"] == 0
    assert ledger["issued"] > 50 * 2 * 5
    assert "PASS  asynclog: values that were lost: 0" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_cuda_it_says_what_is_missing() -> None:
    done = started("--quick", "--json", "-")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bench/gpu.py wants a GPU: ")
    assert "--device cpu" in done.stderr


def on_device(category: str, begin: float, took: float) -> dict[str, Any]:
    return {"ph": "X", "cat": category, "name": "something", "ts": begin, "dur": took, "tid": 7}


def call(name: str, thread: int) -> dict[str, Any]:
    return {"ph": "X", "cat": "cuda_runtime", "name": name, "ts": 0.0, "dur": 1.0, "tid": thread}


def test_a_device_is_idle_where_nothing_of_any_stream_runs(trace: ModuleType) -> None:
    events = [
        on_device("kernel", 10, 4), on_device("gpu_memcpy", 12, 4), on_device("kernel", 13, 1),
        on_device("gpu_memset", 18, 2), call("cudaGraphLaunch", 1),
    ]  # fmt: skip
    assert trace.idle_share(events) == pytest.approx(0.2)
    assert trace.idle_share(events[:1]) == 0
    with pytest.raises(ValueError, match="nothing that ran"):
        trace.idle_share([call("cudaGraphLaunch", 1)])


def test_what_waits_is_counted_by_whether_its_thread_launches(trace: ModuleType) -> None:
    calls = [
        call("cudaGraphLaunch", 1), call("cudaLaunchKernel", 1), call("cudaLaunchKernel", 2),
        call("cudaStreamSynchronize", 1), call("cudaDeviceSynchronize_v3020", 1), call("cudaMemcpy_ptds", 1),
        call("cudaEventSynchronize", 2), call("cudaMemcpyAsync", 1), call("cudaEventQuery", 2),
    ]  # fmt: skip
    assert trace.seen([*calls, on_device("kernel", 0, 1)]) == trace.Seen(0, 3, 1)


def rows_of(**changed: Any) -> list[dict[str, Any]]:
    """Rows of a GPU, those of asynclog with what is given."""
    steps = [
        {"what": "step", "way": "none", "step_us": 10_000.0, "step_error_us": 5.0, "device": "cuda"},
        {
            "what": "step", "way": "asynclog", "step_us": 10_020.0, "step_error_us": 5.0, "call_us": 90.0,
            "call_p99_us": 200.0, "added_us": 20.0, "added_error_us": 4.0,
        },
    ]  # fmt: skip
    others = [
        {"what": "scalars", "way": "pauses", "call_us": 20.0, "call_p99_us": 40.0},
        {"what": "scalars", "way": "steps", "call_us": 25.0, "call_p99_us": 40.0},
        {"what": "guarded", "way": "asynclog", "lost": 0},
        {"what": "ledger", "way": "asynclog", "complete": True, "issued": 9, "dropped": 0},
        {"what": "profile", "way": "none", "idle_share": 0.02, "waits": 21, "waits_beside": 0, "steps": 20},
        {"what": "profile", "way": "items", "idle_share": 0.2, "waits": 1021, "waits_beside": 0, "steps": 20},
        {"what": "profile", "way": "asynclog", "idle_share": 0.02, "waits": 21, "waits_beside": 0, "steps": 20},
    ]
    return [{**row, **(changed if row["way"] == "asynclog" else {})} for row in [*steps, *others]]


def test_what_is_promised_holds_or_does_not(report: ModuleType) -> None:
    assert all(check.passed for check in report.checks(rows_of()))
    broken: dict[str, dict[str, Any]] = {
        "added, of a step": {"added_us": 51.0},
        "lost where torch raises": {"lost": 1},
        "values that were lost": {"complete": False},
        "waits for the GPU, added to a step": {"waits_beside": 1},
    }
    for promise, changed in broken.items():
        (failed,) = [check for check in report.checks(rows_of(**changed)) if not check.passed]
        assert promise in failed.promise
    (failed,) = [c for c in report.checks([*rows_of(), {"what": "failed", "way": "x"}]) if not c.passed]
    assert failed.promise == "parts that could not be measured"


def test_the_table_has_a_line_a_way_and_dashes_for_what_nobody_looked_at(report: ModuleType) -> None:
    none, ours, pauses, steps = report.cells(rows_of())
    assert none == ["no logging", "10,000 ± 5", "", "", "", "2", "0"]
    assert ours == ["asynclog", "10,020 ± 5", "20 ± 4", "90", "200", "2", "0"]
    assert pauses == ["asynclog: 10 scalars, an idle GPU", "", "", "20", "40", "", ""]
    assert steps[3] == "25"
    assert report.cells(rows_of()[:1]) == [["no logging", "10,000 ± 5", "", "", "", "-", "-"]]
    assert all(len(line) == len(report.HEADER) for line in (none, ours, pauses, steps))
