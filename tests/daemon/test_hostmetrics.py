"""The node's own numbers."""

from __future__ import annotations

import math
from pathlib import Path

from asynclog_proto import records
from asynclogd.hostmetrics import HostSampler, log_metrics
from asynclogd.server import host_records


def test_a_sample_is_of_this_node(tmp_path: Path) -> None:
    sampler = HostSampler(tmp_path)
    values = sampler.sample()
    assert all(name.startswith("system/") and math.isfinite(value) for name, value in values.items())
    assert values["system/memory_used_bytes"] > 1 << 20
    assert 0 < values["system/memory_percent"] <= 100
    assert 0 <= values["system/disk_percent"] <= 100
    assert values["system/net_recv_bytes_per_s"] >= 0


def test_what_log_costs_is_that_of_the_costliest_rank() -> None:
    told = log_metrics([(None, None), (2e-6, 5e-6), (3e-6, 4e-6)])
    assert told == {"asynclog/log_us_p50": 3e-6 * 1e6, "asynclog/log_us_p99": 5e-6 * 1e6}
    assert log_metrics([(None, None)]) == {}


def test_it_travels_as_a_layout_that_may_be_said_again_and_a_row() -> None:
    first = host_records({"system/a": 1.0, "system/b": 2.0}, step=7, now=5.0)
    (begin, middle), (_, end) = records.iterate(first)
    layout, row = records.decode(first[begin:middle]), records.decode(first[middle:end])
    assert isinstance(layout, records.Layout)
    assert layout.names == ("system/a", "system/b")
    assert row == records.Row(layout.layout, 7, 5.0, 1.0, (1.0, 2.0))
    assert host_records({"system/a": 9.0, "system/b": 2.0}, step=8, now=6.0)[: middle - begin] == first[:middle]
