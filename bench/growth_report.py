"""Table and checks of `bench/growth.py`: each figure beside how it has grown since the decade before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from rich.table import Table

from harness import Check, Row, markdown, short, table, versions_line

AXES: Mapping[str, str] = {
    "names": "names a row",
    "ranks": "ranks",
    "rate": "rows a second and rank",
    "backends": "backends",
    "length": "values in the run",
}
"""What each axis counts, in the order of the table."""

HEADER = (
    "as this grows",
    "to",
    "CPU ns a value",
    "over the one before",
    "% of a core",
    "journal B a value",
    "peak MB",
    "restart s",
    "replay s",
)

FLAT = 1.25
"""A value may cost this many times what it did where the work was a tenth: noise, cache misses."""

JOURNAL_FLAT, MEMORY_MB, MOST_MB, RESTART_S = 1.02, 32.0, 200.0, 3.0
SETTLED = 10**6
"""Values after which a run is long: what is there once (the schema, the first arrays) weighs no more."""


def _axis(rows: Sequence[Row], axis: str) -> list[Row]:
    return [row for row in rows if row["axis"] == axis]


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    made = []
    before: Row = {}
    for row in rows:
        same = before.get("axis") == row["axis"]
        over = f"{row['ns_per_scalar'] / before['ns_per_scalar']:.2f}x" if same else ""
        rest = [
            short(row[key]) if key in row else ""
            for key in ("core_percent", "journal_bytes_per_scalar", "rss_peak_mb", "restart_s", "replay_s")
        ]
        if row["axis"] != "rate":
            rest[0] = ""  # as fast as it goes: the share of a core says nothing
        made.append(["" if same else AXES[row["axis"]], short(row["x"]), short(row["ns_per_scalar"]), over, *rest])
        before = row
    return made


def footnote() -> str:
    """Versions, under the table."""
    return versions_line(["asynclogd", "numpy", "pyzmq"])


def printed(rows: Sequence[Row]) -> Table:
    """The table for a terminal."""
    return table("What the daemon costs as the work grows", HEADER, _cells(rows))


def readme_block(rows: Sequence[Row]) -> str:
    """The table for docs/benchmarks.md between its `bench:growth` markers."""
    return markdown(HEADER, _cells(rows), footnote())


def checks_of(rows: Sequence[Row]) -> list[Check]:
    """The promises, as far as their axes were measured."""
    made = []
    for axis in ("names", "ranks", "rate"):
        worst = _worst_step([row["ns_per_scalar"] for row in _axis(rows, axis)])
        if worst is not None:
            made.append(Check(f"{AXES[axis]}, ten times as many: CPU a value grows by", worst, FLAT))
    ends = {row["x"]: row["end_ms_per_rank"] for row in _axis(rows, "ranks")}
    if {100, 1_000} <= ends.keys():
        text = "the end of a run of 1,000 ranks over one of 100: CPU a rank"
        made.append(Check(text, ends[1_000] / ends[100], FLAT))
    return [*made, *_backend_checks(_axis(rows, "backends")), *_length_checks(_axis(rows, "length"))]


def _worst_step(costs: Sequence[float]) -> float | None:
    steps = [after / before for before, after in pairwise(costs)]
    return max(steps, default=None)


def _backend_checks(rows: Sequence[Row]) -> list[Check]:
    """Each further one costs what others did: the last ones against those between the first and them.

    Not against the first: what that costs beyond none is the small difference of two large figures.
    """
    costs = [(row["x"], row["ns_per_scalar"]) for row in rows if row["x"] >= 1]
    if len(costs) < 3 or costs[-2][1] <= costs[0][1]:  # as a quick look may have it, by noise
        return []
    (fewest, first), (between, before), (most, last) = costs[0], costs[-2], costs[-1]
    further = ((last - before) / (most - between)) / ((before - first) / (between - fewest))
    return [Check(f"a backend beyond {between}, up to {most}, over one beyond {fewest}: CPU", further, FLAT)]


def _length_checks(rows: Sequence[Row]) -> list[Check]:
    settled = [row for row in rows if row["x"] >= SETTLED]
    if not settled:
        return []
    first, last = settled[0], settled[-1]
    times = f"{last['x'] / first['x']:,.0f} times as long a run"
    made = [
        Check("the daemon's memory, MB at most", max(row["rss_peak_mb"] for row in rows), MOST_MB),
        Check("opening the journal again after a kill, s at worst", max(row["restart_s"] for row in rows), RESTART_S),
    ]
    if last is first:
        return made
    grown = {key: last[key] / first[key] for key in ("ns_per_scalar", "journal_bytes_per_scalar")}
    replay = (last["replay_s"] / last["scalars"]) / (first["replay_s"] / first["scalars"])
    return [
        Check(f"{times}: CPU a value grows by", grown["ns_per_scalar"], FLAT),
        Check(f"{times}: journal bytes a value grow by", grown["journal_bytes_per_scalar"], JOURNAL_FLAT),
        Check(f"{times}: the daemon's memory grows by MB", last["rss_peak_mb"] - first["rss_peak_mb"], MEMORY_MB),
        Check(f"{times}: the time of a replay, a value, grows by", replay, FLAT),
        *made,
    ]
