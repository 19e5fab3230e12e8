"""bench/charts.py: which charts there are of what was measured, and that they are pictures."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from tests.bench.conftest import BENCH, Script

PAGE = BENCH.parent / "docs" / "benchmarks.md"

COSTS: dict[str, Any] = {"p50_us": 1.5, "p99_us": 400.0, "cpu_us_per_call": 100.0}
HOT_PATH = [
    *({"mode": "paced", "contender": name, "label": name.title(), **COSTS} for name in ("empty", "asynclog", "wandb")),
    *(
        {"mode": "names", "contender": name, "label": name, "names": names, "ns_per_value": 90.0}
        for name in ("msgpack", "asynclog")
        for names in (1, 10)
    ),
]
BACKENDS = [
    {"backend": "csv", "who": who, "steps_per_table": steps, "cpu_gain": gain}
    for who, steps, gain in (("direct", 1, 1.0), ("asynclog", 1, 2.0), ("asynclog", 100, 9.0))
]
LONG = {"journal_bytes_per_scalar": 13.0, "rss_peak_mb": 80.0, "replay_s": 1.0}
GROWTH = [
    {"axis": axis, "x": x, "scalars": 1000, "ns_per_scalar": 100.0, **(LONG if axis == "length" else {})}
    for axis in ("names", "ranks", "rate", "backends", "length")
    for x in (1, 10)
]
DDP = [
    {
        "ranks": ranks, "metrics": metrics, "uneven": uneven, "way": way,
        "added_us": -30.0 if way == "noop" else 40.0 * metrics, "added_error_us": 50.0,
    }
    for ranks in (2, 4)
    for metrics, uneven in ((1, False), (1000, False), (20, True))
    for way in ("noop", "asynclog", "alone", "packed", "each")
    if way != "each" or metrics == 1
]  # fmt: skip


@pytest.fixture
def charts(script: Script) -> ModuleType:
    return script("charts")


def write(folder: Path, benchmark: str, rows: list[dict[str, Any]]) -> None:
    (folder / f"{benchmark}.json").write_text(json.dumps([{"machine": "a machine", **row} for row in rows]))


def test_every_benchmark_that_has_a_result_gets_its_charts(charts: ModuleType, tmp_path: Path) -> None:
    for benchmark, rows in {"hot_path": HOT_PATH, "backends": BACKENDS, "growth": GROWTH, "ddp": DDP}.items():
        write(tmp_path, benchmark, rows)
    assert charts.drawn(tmp_path, tmp_path / "images") == list(charts.CHARTS)
    for name in charts.CHARTS:
        path = tmp_path / "images" / f"{name}.png"
        with Image.open(path) as picture:
            assert picture.width > 400
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)  # not the page's own colour
        assert path.stat().st_size < 60_000


def test_a_benchmark_without_a_result_keeps_the_chart_that_it_has(charts: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "backends", BACKENDS)
    (tmp_path / "growth.png").write_bytes(b"before")
    assert charts.drawn(tmp_path, tmp_path) == ["backends"]
    assert (tmp_path / "growth.png").read_bytes() == b"before"


def test_the_page_has_a_place_for_every_chart(charts: ModuleType) -> None:
    text = PAGE.read_text()
    for name in charts.CHARTS:
        assert charts.harness.replace_block(text, f"chart_{name}", "x") != text


def test_a_page_links_a_chart_relative_to_itself(charts: ModuleType) -> None:
    assert charts.link("growth", charts.IMAGES, PAGE).endswith("](images/growth.png)")


def test_a_chart_says_machine_and_versions_under_it(charts: ModuleType, tmp_path: Path) -> None:
    pictures = set()
    for about in ({}, {"machine": "another"}, {"versions": "Python 3"}):
        write(tmp_path, "backends", [{**row, **about} for row in BACKENDS])
        charts.drawn(tmp_path, tmp_path)
        pictures.add((tmp_path / "backends.png").read_bytes())
    assert len(pictures) == 3


def test_long_small_print_stays_within_the_picture(charts: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "backends", [{**row, "versions": "package 1.2.3, " * 20} for row in BACKENDS])
    charts.drawn(tmp_path, tmp_path)
    with Image.open(tmp_path / "backends.png") as picture:
        print_ = picture.convert("L").crop((0, picture.height - 30, picture.width, picture.height))
        edges = [print_.crop((left, 0, left + 4, print_.height)) for left in (0, picture.width - 4)]
    assert min(print_.tobytes()) < 100
    assert [min(edge.tobytes()) for edge in edges] == [255, 255]
