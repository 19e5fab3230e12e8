"""A process that journals until it is killed: says each commit once it has returned. Arguments: path, bytes."""

from __future__ import annotations

import sys
from pathlib import Path

from asynclogd.entries import Cause, Commit, Cursor, Input
from asynclogd.journal import Journal
from tests.daemon.tables import table


def commit(number: int, payload_bytes: int) -> Commit:
    """The n-th commit of the process: 1, 2, 3, ..."""
    return Commit(
        inputs=[Input(Cause.BATCH, 1, number, 1, number.to_bytes(8, "little") * (payload_bytes // 8), float(number))],
        items=[table(2 * number), table(2 * number + 1, names=(f"only {number}",))],
        cursors={"csv": Cursor(offset=2 * number)},
        facts={"commits": number},
        snapshot=b"after %d" % number if number % 10 == 0 else None,
    )


if __name__ == "__main__":
    with Journal.open(Path(sys.argv[1])) as journal:
        for number in range(1, 1_000_000):
            journal.commit(commit(number, int(sys.argv[2])))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
