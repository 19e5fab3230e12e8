"""Whether a run's ledger says what was logged: that its equation holds is not enough, for it is computed so."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from asynclogd.overview import Overview, look

SECONDS = 60.0


def expect_balanced(run_dir: Path, values: int, extra: int = 0, dropped: Iterable[str] = ()) -> dict[str, int]:
    """The ledger in the journal accounts for `values` values, up to `extra` more by a process that was killed: each is
    journaled and with every backend, or dropped by one of the causes that are given, and nothing is on its way. What
    was dropped, by cause. A daemon that is at it may take a while.
    """
    seen = _settled(run_dir)
    ledger, where = seen.ledger, f"{run_dir.name}: {dict(seen.ledger)}"
    lost = dict(ledger["dropped"])
    assert not seen.error, seen.error
    assert ledger["in_transit"] == 0, where
    assert ledger["issued"] == ledger["journaled"] + sum(lost.values()), where
    assert values <= ledger["issued"] - ledger["host"] <= values + extra, f"{values} were logged; {where}"
    assert lost.keys() == set(dropped), where
    assert all(stream.lost == 0 for stream in seen.streams), where
    assert ledger["backends"], where
    for row in ledger["backends"].values():
        assert row["pending"] == row["limited"] == row["dead"] == 0, where
        assert row["delivered"] == ledger["journaled"], where
    return lost


def _settled(run_dir: Path) -> Overview:
    """The run once nothing of it is on its way, or as it is when that does not come."""
    end = time.monotonic() + SECONDS
    while True:
        seen = look(run_dir)
        done = seen.ledger and not seen.pending and not seen.ledger["in_transit"]
        if done or time.monotonic() > end:
            assert seen.ledger, f"{run_dir.name}: {seen.status} {seen.error}"
            return seen
        time.sleep(0.05)
