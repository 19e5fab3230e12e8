"""A regression guard: what the hot paths cost now, beside what they cost when that was last stored.

    python bench/guard.py [--json PATH|-] [--check] [--quick] [--update]

Three kinds of figures, none of which is a time, for the machine swings by a factor of four:

- ratios of CPU time to a floor, the least that could be done instead, measured by turns in the same seconds; of both
  the least of many goes;
- bytes that a value takes in the ring, the journal and an event file: the same in every run;
- instructions, where valgrind is installed; stored ones hold for the same Python, NumPy and architecture alone.

A figure fails when it is above the stored one by more than its kind may swing (TOLERANCES says why so much). `--update`
stores what was measured, in bench/guard.json: in the commit that made a path slower or quicker on purpose.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import guard_instructions
import harness
from guard_timing import ratios, sizes
from guard_work import works
from harness import Row

STORED = Path(__file__).with_name("guard.json")

TOLERANCES: Mapping[str, float] = {"ratio": 1.5, "bytes": 1.01, "instructions": 1.02}
"""How many times the stored figure is still the same. On 2 cores with a load of 7 to 10 the highest ratio of three runs
was 1.02 to 1.35 times the lowest; bytes and instructions were the same to the last one, and have room for what moves
them and is no cost: a longer path, another order of a hash table.
"""

HEADER = ("", "kind", "now", "stored", "at most", "")


def measured(*, quick: bool) -> list[Row]:
    """All figures; without instructions where they can't be counted, or `quick`."""
    with tempfile.TemporaryDirectory(prefix="asynclog-guard-") as folder:
        place = Path(folder)
        (place / "timed").mkdir()
        with works(place / "timed") as found:
            rows = [
                {"kind": "ratio", "what": f"{work.name} / {work.least}", "value": value}
                for work, value in zip(found, ratios(found, 0.2 if quick else 2.0), strict=True)
            ]
        rows += [{"kind": "bytes", "what": what, "value": value} for what, value in sizes(place / "sized").items()]
    if guard_instructions.available() and not quick:
        counts = guard_instructions.counted()
        rows += [{"kind": "instructions", "what": what, "value": value} for what, value in counts.items()]
    return rows


def compared(rows: Sequence[Row], stored: Mapping[str, Any], valid_for: str) -> list[Row]:
    """The rows with what is stored, what is allowed and a verdict: PASS, FAIL, better or, where nothing is comparable,
    new. What is stored and was not measured has failed.
    """
    seen = {(row["kind"], row["what"]) for row in rows}
    gone: list[Row] = [
        {"kind": kind, "what": what, "value": None, "stored": value, "at_most": None, "verdict": "FAIL"}
        for kind in ("ratio", "bytes")
        for what, value in stored.get(kind, {}).items()
        if (kind, what) not in seen
    ]
    return [{**row, **_verdict(row, _known(row, stored, valid_for))} for row in rows] + gone


def _known(row: Row, stored: Mapping[str, Any], valid_for: str) -> float | None:
    if row["kind"] == "instructions" and stored.get("instructions of") != valid_for:
        return None
    value: float | None = stored.get(row["kind"], {}).get(row["what"])
    return value


def _verdict(row: Row, known: float | None) -> Row:
    if known is None:
        return {"stored": None, "at_most": None, "verdict": "new"}
    most = known * TOLERANCES[row["kind"]]
    better = row["value"] * TOLERANCES[row["kind"]] < known
    verdict = "FAIL" if row["value"] > most else "better" if better else "PASS"
    return {"stored": known, "at_most": most, "verdict": verdict}


def to_store(rows: Sequence[Row], stored: Mapping[str, Any], valid_for: str) -> dict[str, Any]:
    """What is stored from now on. Instructions that were not counted stay."""
    kinds = {kind: {row["what"]: row["value"] for row in rows if row["kind"] == kind} for kind in TOLERANCES}
    if not kinds["instructions"]:
        kinds["instructions"], valid_for = stored.get("instructions", {}), stored.get("instructions of", "")
    return {"machine": harness.machine_line(), "instructions of": valid_for, **kinds}


def notes(rows: Sequence[Row], stored: Mapping[str, Any], valid_for: str) -> list[str]:
    """What the table does not tell."""
    said = [f"stored on {stored['machine']}"] if stored else ["nothing is stored yet: --update does it"]
    if not any(row["kind"] == "instructions" for row in rows):
        said.append("instructions were not counted (valgrind is not installed, or --quick)")
    elif stored and stored.get("instructions of") != valid_for:
        said.append(f"instructions are not compared: stored of {stored.get('instructions of')}, here {valid_for}")
    if any(row["verdict"] == "better" for row in rows):
        said.append("better than stored: --update, or the gain may be lost again unseen")
    return said


def cells_of(rows: Sequence[Row]) -> list[list[str]]:
    """A line a figure."""
    colours = {"PASS": "[green]PASS[/]", "FAIL": "[bold red]FAIL[/]"}
    lines = []
    for row in rows:
        figures = [harness.short(row[key]) for key in ("value", "stored", "at_most")]
        verdict: str = row["verdict"]
        lines.append([row["what"], row["kind"], *figures, colours.get(verdict, verdict)])
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="PATH", help="write the rows as a JSON list; - for stdout")
    parser.add_argument("--check", action="store_true", help="exit 1 when a figure fails")
    parser.add_argument("--quick", action="store_true", help="shorter turns, no instructions")
    parser.add_argument("--update", action="store_true", help="store what was measured")
    options = parser.parse_args()
    stored: dict[str, Any] = json.loads(STORED.read_text()) if STORED.exists() else {}
    valid_for = guard_instructions.valid_for()
    rows = compared(measured(quick=options.quick), stored, valid_for)
    out = harness.console(options.json)
    out.print(harness.table("Regression guard", HEADER, cells_of(rows)))
    for said in notes(rows, stored, valid_for):
        out.print(said, soft_wrap=True)
    harness.note_checks(
        harness.Check(f"{row['what']}, {row['kind']}", row["value"], row["at_most"])
        for row in rows
        if row["verdict"] in {"PASS", "FAIL", "better"}
    )
    harness.write_json(options.json, rows, harness.versions_line(["asynclogd", "numpy", "msgpack"]))
    if options.update:
        STORED.write_text(json.dumps(to_store(rows, stored, valid_for), indent=1) + "\n")
    return 1 if options.check and any(row["verdict"] == "FAIL" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
