"""What `bench/gpu.py` shows of its rows, what it promises, and whether it can run here."""

from __future__ import annotations

from collections.abc import Sequence

import harness
from gpu_plan import ITEMS, METRICS, NONE, OURS, STACKED

Row = harness.Row

OF_A_STEP, CALL_US = 0.005, 30.0
WAYS = {
    NONE: "no logging",
    ITEMS: "`.item()` of each metric",
    STACKED: "one `.tolist()` of all, stacked",
    OURS: "asynclog",
}
CALLS = {
    ("scalars", "pauses"): "asynclog: 10 scalars, an idle GPU",
    ("scalars", "steps"): "asynclog: 10 scalars, between replays",
    ("histogram", OURS): "asynclog: histogram of {elements:,}",
    ("histogram", "summarywriter"): "SummaryWriter: histogram of {elements:,}",
    ("all_reduce", "packed"): "packed all_reduce, NCCL, {ranks} ranks",
}
HEADER = ("", "step us", "added us", "in the call us", "p99", "GPU idle %", "waits for the GPU, added")


def missing() -> str:
    """What is missing here for a measurement on a GPU, "" when nothing is."""
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    if not torch.version.cuda:
        return f"this PyTorch ({torch.__version__}) is built without CUDA"
    return "" if torch.cuda.is_available() else "CUDA sees none"


def where(device: str, rows: Sequence[Row]) -> str:
    """The device, and how the model ran on it."""
    if device == "cpu":
        return "A tiny model on the CPU, which tells nothing of a GPU"
    import torch

    compiled = all(row.get("compiled", True) for row in rows)
    how = "compiled" if compiled else "not compiled"
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}; the model is {how}, a step is a CUDA graph"


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """A line a way to log, then one a call outside the loop; a dash for what was not measured."""
    made = []
    for row in rows:
        if row["what"] == "step":
            made.append([WAYS[row["way"]], *_times(row), *_profile(rows, "profile", row["way"])])
        elif label := CALLS.get((row["what"], row["way"])):
            profile = _profile(rows, "histogram profile", row["way"]) if row["what"] == "histogram" else ["", ""]
            made.append([label.format(**row), "", *_times(row)[1:], *profile])
    return made


def _times(row: Row) -> list[str]:
    step = _with_error(row, "step_us", "step_error_us")
    added = _with_error(row, "added_us", "added_error_us")
    return [step, added, *(harness.short(row[key]) if key in row else "" for key in ("call_us", "call_p99_us"))]


def _with_error(row: Row, key: str, error: str) -> str:
    return harness.give_or_take(row[key], row.get(error, 0)) if key in row else ""


def _profile(rows: Sequence[Row], what: str, way: str) -> list[str]:
    """How long the GPU was idle, and what waited for it beyond what does so without logging."""
    row = found(rows, what, way)
    idle = row.get("idle_share") if row else None
    return [harness.short(None if idle is None else idle * 100), harness.short(waits(rows, what, way))]


def found(rows: Sequence[Row], what: str, way: str) -> Row | None:
    """That row; None when it was not measured."""
    return next((row for row in rows if (row["what"], row["way"]) == (what, way)), None)


def waits(rows: Sequence[Row], what: str, way: str) -> float | None:
    """Calls a step that wait for the device, by any thread, beyond those of a step that logs nothing; None when nobody
    looked.
    """
    row, base = found(rows, what, way), found(rows, what, NONE)
    if row is None or base is None:
        return None
    return float(row["waits"] + row["waits_beside"] - base["waits"] - base["waits_beside"]) / int(row["steps"])


def checks(rows: Sequence[Row]) -> list[harness.Check]:
    """What is promised on a GPU; of a CPU only that nothing is lost."""
    ledger = found(rows, "ledger", OURS)
    lost = 1 if ledger is None or not ledger["complete"] else ledger["dropped"]
    failed = sum(row["what"] == "failed" for row in rows)
    made = [harness.Check("parts that could not be measured", failed, 0)]
    made.append(harness.Check("asynclog: values that were lost", lost, 0))
    if any(row.get("device") == "cpu" for row in rows):
        return made
    none, ours = found(rows, "step", NONE), found(rows, "step", OURS)
    if none is not None and ours is not None:
        # Less than the clock can tell is not less.
        added = max(ours["added_us"], ours["added_error_us"])
        made.append(harness.Check("asynclog: added, of a step", added / none["step_us"], OF_A_STEP))
    for way, how in (("pauses", "an idle GPU"), ("steps", "between replays")):
        if (row := found(rows, "scalars", way)) is not None:
            made.append(harness.Check(f"asynclog: 10 scalars, {how}, call us", row["call_us"], CALL_US))
    guarded = found(rows, "guarded", OURS)
    if guarded is not None:
        made.append(harness.Check("asynclog: lost where torch raises instead of waiting", guarded["lost"], 0))
    return [*made, *_of_profile(rows)]


def _of_profile(rows: Sequence[Row]) -> list[harness.Check]:
    """That asynclog does not wait, and that the profiler sees whoever does."""
    made = []
    for what, about in (("profile", "a step"), ("histogram profile", "a histogram")):
        if (added := waits(rows, what, OURS)) is not None:
            made.append(harness.Check(f"asynclog: waits for the GPU, added to {about}", added, 0))
    if (seen := waits(rows, "profile", ITEMS)) is not None:
        text = f"waits for the GPU that the profiler sees of {METRICS} .item()"
        made.append(harness.Check(text, seen, METRICS, at_least=True))
    return made
