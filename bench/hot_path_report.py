"""Tables and checks of `bench/hot_path.py`: each number beside its ratio to asynclog's, or to a floor's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.table import Table

from asynclog.writer import COMPILED
from contenders import CONTENDERS
from harness import Check, Row, against, markdown, short, table, versions_line

TITLE = "The hot path: what log() costs the training thread"
PACED_HEADER = (
    "logging 10 floats, offline",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "CPU us a call",
    "us a row until durable",
    "CPU us a row until durable",
)
FOR_P999 = 1_000
"""Calls of a turn: of fewer the 99.9th percentile is their longest."""
WIDE_NS = 60
GROWTH = 1.25
"""A value in a wide row may cost this many times one in a row of 10: noise, cache misses."""


def footnote() -> str:
    """Versions and what the figures are, under the table."""
    peers = ["asynclogd", "torch", "tensorboard", "lightning", "wandb", "mlflow", "msgpack"]
    how = "compiled" if COMPILED else "in Python, not compiled"
    which = "quantiles are medians of turns (p99.9 of turns of 1,000 calls and more), max is of all calls"
    return f"{versions_line(peers)}; log() is {how}; {which}"


def _of(rows: Sequence[Row], mode: str) -> dict[str, Row]:
    return {row["contender"]: row for row in rows if row["mode"] == mode}


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    paced, durable = _of(rows, "paced"), _of(rows, "back_to_back")
    ours, ours_durable = paced.get("asynclog", {}), durable.get("asynclog", {})
    cells = []
    for name, row in paced.items():
        cell = [row["label"]]
        cell += [against(row[key], ours.get(key)) for key in ("p50_us", "p99_us")]
        cell += [short(row["p999_us"]) if row["calls_a_turn"] >= FOR_P999 else "", short(row["max_us"])]
        cell.append(against(row["cpu_us_per_call"], ours.get("cpu_us_per_call")))
        for key in ("until_durable_us_per_row", "cpu_us_per_row"):
            cell.append(against(durable[name][key], ours_durable.get(key)))
        cells.append(cell)
    return cells


def paced_table(rows: Sequence[Row]) -> Table:
    """Latency, CPU and time until durable; in brackets how many times asynclog's."""
    pace = next((row["pace"] for row in rows if row["mode"] == "paced"), "")
    return table(f"A dict of 10 floats, one call at each 1 ms step, {pace} between", PACED_HEADER, _cells(rows))


def names_table(rows: Sequence[Row]) -> Table:
    """Nanoseconds a value by names a row; in brackets how many times the encoder alone takes."""
    header, cells = _names(rows)
    return table("Nanoseconds a value, by names a row", header, cells)


def _names(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    found = {(row["names"], row["contender"]): row["ns_per_value"] for row in rows if row["mode"] == "names"}
    contenders = [name for name in CONTENDERS if any(name == key[1] for key in found)]
    cells = []
    for names in sorted({key[0] for key in found}):
        floor = found.get((names, "msgpack"))
        values = [found.get((names, name)) for name in contenders]
        cells.append([f"{names:,}", *(short(v) if v is None else against(v, floor, 2) for v in values)])
    return ["names", *(CONTENDERS[name].label for name in contenders)], cells


def readme_block(rows: Sequence[Row]) -> str:
    """The tables for README.md between its `bench:hot_path` markers."""
    return markdown(PACED_HEADER, _cells(rows), "") + "\n" + markdown(*_names(rows), footnote())


def checks(rows: Sequence[Row]) -> list[Check]:
    """The promises, as far as the contenders that they compare were measured."""
    paced, durable = _of(rows, "paced"), _of(rows, "back_to_back")
    if "asynclog" not in paced:
        return []
    made: list[Check] = []
    ours, peers = paced["asynclog"], [row for name, row in paced.items() if CONTENDERS[name].is_peer]
    if "msgpack" in paced:
        for key, most in (("p50_us", 2.0), ("p99_us", 5.0)):
            promise = f"{key.removesuffix('_us')} over msgpack's encode and a copy"
            made.append(Check(promise, ours[key] / paced["msgpack"][key], most))
    if peers:
        fastest = min(row["p50_us"] for row in peers)
        best = min(row["p99_us"] for row in peers)
        made.append(Check("p50 over the fastest peer's", ours["p50_us"] / fastest, 1 / 4))
        made.append(Check("p99 over the best peer's", ours["p99_us"] / best, 1 / 10))
    if "wandb" in paced:
        made.append(Check("p50 over W&B's", ours["p50_us"] / paced["wandb"]["p50_us"], 1 / 150))
    if "summarywriter" in durable:
        spent = [durable[name]["until_durable_us_per_row"] for name in ("asynclog", "summarywriter")]
        made.append(Check("until durable over SummaryWriter's", spent[0] / spent[1], 1 / 25))
    if "tensorboardlogger" in durable:
        made.append(_cpu("CPU of a paced call", "cpu_us_per_call", paced))
        made.append(_cpu("CPU of a row until durable", "cpu_us_per_row", durable))
    return made + _growth(rows)


def _cpu(what: str, key: str, rows: dict[str, Row]) -> Check:
    """The whole tree's, beside the logger that delivers to the same place, without a journal."""
    return Check(f"{what} over TensorBoardLogger's", rows["asynclog"][key] / rows["tensorboardlogger"][key], 1 / 30)


def _falls(per_value: dict[int, float]) -> Check:
    """The cost of a value falls with each wider row: the step where it falls least, or rises most."""
    steps = {wide: per_value[wide] / per_value[narrow] for narrow, wide in itertools.pairwise(sorted(per_value))}
    worst = max(steps, key=lambda wide: steps[wide])
    return Check(f"a value over one in the next narrower rows, worst at {worst:,} names", steps[worst], 1.0)


def _growth(rows: Sequence[Row]) -> list[Check]:
    ours = [row for row in rows if row["mode"] == "names" and row["contender"] == "asynclog"]
    per_value = {row["names"]: row["ns_per_value"] for row in ours}
    wider = [cost for names, cost in per_value.items() if names > 10]
    if not wider or 10 not in per_value:
        return []
    made = [Check("a value in a wide row over one in a row of 10", max(wider) / per_value[10], GROWTH)]
    made.append(_falls(per_value))
    widest = [cost for names, cost in per_value.items() if names >= 1000]
    return made + ([Check("ns a value, rows of 1,000 names and more", max(widest), WIDE_NS)] if widest else [])
