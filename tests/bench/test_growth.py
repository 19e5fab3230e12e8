"""bench/growth.py: what it makes of its figures, and that it has them of a real daemon."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.conftest import Script


def row(axis: str, x: int, cost: float, **more: float) -> dict[str, Any]:
    return {
        "axis": axis,
        "x": x,
        "scalars": x,
        "ns_per_scalar": cost,
        "core_percent": 7.0,
        "end_ms_per_rank": 1.0,
        **more,
    }


def long(x: int, *, journal: float = 13.0, peak: float = 80.0, replay: float = 1e-7) -> dict[str, Any]:
    more = {"journal_bytes_per_scalar": journal, "rss_peak_mb": peak, "restart_s": 0.5, "replay_s": replay * x}
    return row("length", x, 100.0, **more)


def failed(rows: list[dict[str, Any]], script: Script) -> list[str]:
    return [check.promise for check in script("growth_report").checks_of(rows) if not check.passed]


def test_the_worst_decade_counts_and_not_the_whole_way(script: Script) -> None:
    flat = [row("names", x, cost) for x, cost in ((1, 500.0), (10, 100.0), (100, 120.0))]
    assert failed(flat, script) == []
    (promise,) = failed([*flat, row("names", 1000, 300.0)], script)
    assert promise.startswith("names a row")


def test_what_the_end_costs_a_rank_is_held_where_ranks_are_many(script: Script) -> None:
    assert failed([row("ranks", x, 100.0) for x in (1, 100, 1_000)], script) == []
    (promise,) = failed([row("ranks", 100, 100.0), row("ranks", 1_000, 100.0, end_ms_per_rank=9.0)], script)
    assert promise.startswith("the end of a run")


def test_further_backends_are_held_against_those_before(script: Script) -> None:
    def costs(*of: float) -> list[dict[str, Any]]:
        return [row("backends", x, cost) for x, cost in zip((0, 1, 4, 8), of, strict=True)]

    assert failed(costs(118.0, 120.0, 150.0, 190.0), script) == []
    (promise,) = failed(costs(118.0, 120.0, 150.0, 210.0), script)
    assert "backend" in promise


@pytest.mark.parametrize(
    ("spoilt", "word"),
    [({"journal": 14.0}, "journal"), ({"peak": 130.0}, "grows by MB"), ({"replay": 2e-7}, "replay")],
)
def test_a_long_run_that_costs_more_a_value_is_told(spoilt: dict[str, float], word: str, script: Script) -> None:
    short = [long(10**5, journal=20.0, peak=60.0), long(10**6)]  # what is there once weighs in a short run
    assert failed([*short, long(10**8)], script) == []
    (promise,) = failed([*short, long(10**8, **spoilt)], script)
    assert word in promise


def test_the_table_tells_each_axis_once_and_its_growth(script: Script) -> None:
    lines = script("growth_report").readme_block([row("rate", 10, 50.0), row("rate", 100, 5.0)])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.splitlines()[4:6]]
    assert cells[0][:5] == ["rows a second and rank", "10", "50", "", "7"]
    assert cells[1][:5] == ["", "100", "5", "0.10x", "7"]


def test_a_daemon_is_measured_until_all_is_in_every_backends_files(script: Script) -> None:
    growth = script("growth")
    with growth.new_daemon() as daemon:
        found = growth.cost(daemon, growth.streams_of(ranks=3, steps=7), rounds=2, backends=2)
        places = {events.parent.name for events in daemon.folder.rglob("run2/*/events.out.tfevents.*")}
    assert found["scalars"] == 2 * 3 * 7 * growth.NAMES
    assert found["ns_per_scalar"] > 0
    assert places == {"tensorboard0", "tensorboard1"}


def test_a_long_run_whose_daemon_is_killed_is_read_again_whole(script: Script) -> None:
    growth = script("growth")
    found = growth.length(growth.ROUND)
    assert found["journal_bytes_per_scalar"] > 8  # a value itself has as much
    assert min(found[key] for key in ("rss_peak_mb", "restart_s", "replay_s")) > 0
