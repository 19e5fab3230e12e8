"""Which runs may go, by age and by the size of all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from asynclogd.overview import Overview


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of a run that retention would remove: `reason` tells why it goes; `kept` why it stays after
    all, "" when it goes; `lost` what goes with it that is nowhere else.
    """

    run: Overview
    reason: str
    kept: str = ""
    lost: str = ""


def judge(
    runs: Iterable[Overview], now: float, older_than: float | None, keep_size: int | None, *, force: bool
) -> list[Verdict]:
    """Verdicts on the runs that are not active since `older_than` seconds, and then on the oldest until what the rest
    keeps is at most `keep_size` bytes. Runs that are going on always stay; of those with undelivered values only
    `force` lets go. What must stay does not count for the size: one large run that goes on would have all others go.
    """
    verdicts: list[Verdict] = []
    ordered = sorted(runs, key=lambda run: (run.active, run.dir))
    size, fixed = sum(run.kept for run in ordered), bound(ordered, force=force)
    for run in ordered:
        verdict = _verdict(run, "older", force=force)
        if older_than is None or now - run.active <= older_than:
            counts = size if verdict.kept else size - fixed  # one that stays is told of where all is too much
            if keep_size is None or counts <= keep_size:
                continue
            verdict = replace(verdict, reason="beyond --keep-size")
        verdicts.append(verdict)
        size -= 0 if verdict.kept else run.kept
    return verdicts


def bound(runs: Iterable[Overview], *, force: bool) -> int:
    """The bytes of runs that must stay."""
    return sum(run.kept for run in runs if _verdict(run, "", force=force).kept)


def _verdict(run: Overview, reason: str, *, force: bool) -> Verdict:
    if run.live or run.status == "running":
        return Verdict(run, reason, kept="a process has it open")
    if run.alive:
        return Verdict(run, reason, kept=run.alive)
    lost = ", ".join(_undelivered(run))
    if lost and not force:
        return Verdict(run, reason, kept=lost)
    return Verdict(run, reason, lost=lost)


def _undelivered(run: Overview) -> Sequence[str]:
    """What of a run is nowhere but in its journal and spool."""
    found = [f"{row['pending']:,} values that {name} has not" for name, row in _backends(run) if row["pending"]]
    found += [f"everything for {name}" for name, behind in run.behind.items() if behind and name not in _named(run)]
    if run.spooled:
        found.append(f"{run.spooled:,} bytes in its spool")
    if run.pending_media:
        found.append(f"{run.pending_media:,} media that are not encoded")
    if run.status == "unfinished" and not found:
        found.append("the end of a run that has not ended")
    if run.status == "unreadable":
        found.append(f"what can't be read ({run.error})")
    return found


def _named(run: Overview) -> set[str]:
    return {name for name, _ in _backends(run)}


def _backends(run: Overview) -> list[tuple[str, dict[str, int]]]:
    return list(run.ledger.get("backends", {}).items())
