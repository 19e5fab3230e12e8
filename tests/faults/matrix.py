"""The faults that the system survives, one row each: what `make faults` and docs/reliability.md have a line for.

A test is a row's by `@pytest.mark.fault(name)`, wherever it is; those of whole processes are beside this file.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A fault, and what must hold when it has happened."""

    fault: str
    holds: str


MATRIX = {
    "daemon-killed": Row("SIGKILL of the daemon under load, at random moments", "nothing lost, nothing twice"),
    "rank-killed": Row(
        "SIGKILL of a rank in mid-step", "each record whose log() returned arrives; the step closes by rule"
    ),
    "both-killed": Row("SIGKILL of both", "the same"),
    "power-lost": Row("the power fails", "acked records survive with durability fsync"),
    "daemon-stopped": Row("SIGSTOP of the daemon", "ranks go on at full speed, memory is capped, it all arrives later"),
    "disk-full": Row("the disk is full, then freed", "acked data are whole, it says so, and recovers by itself"),
    "disk-broken": Row("the journal's disk answers EIO for a while", "the same"),
    "files-broken": Row(
        "the disk answers EIO, or is full, under a file backend or the media store alone",
        "acked data are whole, it says so, the others go on, and it recovers by itself",
    ),
    "service-down": Row(
        "a real MLflow server is stopped, killed, restarted", "its rows are right; other backends unaffected"
    ),
    "service-errors": Row(
        "a service answers 500, 429, hangs, resets, is slow", "retried with backoff; others unaffected"
    ),
    "answer-lost": Row("the answer is lost after the backend has committed", "no row twice"),
    "record-refused": Row("one record is refused for good", "that one is dead-lettered, the rest go on"),
    "files-damaged": Row(
        "journal or spool are cut or have flipped bits", "the rest is recovered; the loss is counted and named"
    ),
    "clock-moved": Row("the clock is moved by a day, both ways", "timers are unaffected; order is by number"),
    "frames-repeated": Row("frames are repeated and reordered", "deduplicated"),
    "steps-late": Row("steps come late and out of order", "counted, by the backend's documented policy"),
    "workers-restarted": Row("torchrun restarts a worker; world 4 to 2", "no stall, nothing counted twice"),
    "outlived": Row(
        "the training is started again while ranks of the launch before live on",
        "what the newer one has logged stands; late rows of these steps are counted",
    ),
    "preempted": Row("preemption as by SLURM: SIGTERM, SIGKILL after a grace", "drained or on disk; the run goes on"),
    "two-at-once": Row(
        "two runs at once; a second daemon at the same endpoint", "isolated; refused with a clear error"
    ),
    "frames-hostile": Row("malformed, endless, deep, huge frames", "refused, counted, memory bounded, the daemon up"),
    "http-hostile": Row(
        "other methods, huge, malformed and slow requests at the port of /metrics",
        "refused or ended; the daemon up, its descriptors and threads bounded",
    ),
    "media-hostile": Row("2 GiB of media, an image bomb", "refused before it is allocated, with a clear error"),
    "stranger": Row("a TCP peer without a key, or with a wrong one", "no byte of it reaches a decoder"),
    "other-user": Row("a process of another user knocks at the socket", "no byte of it reaches a decoder"),
    "socket-foreign": Row(
        "the socket's path is a link, is there, is another user's", "it refuses to start and says why"
    ),
    "forked": Row("fork and spawn with a live client", "the parent is safe; the child is told once that it can't log"),
    "reconnects": Row("reconnects without end", "file descriptors and memory do not grow"),
    "descriptors-out": Row("no file descriptors are left", "the daemon stays up and says so"),
    "values-odd": Row("NaN, infinities, huge ints, -0.0, subnormals", "kept exactly in the journal"),
    "names-odd": Row("odd, long and countless names", "no path escape, no collision, bounded"),
    "exits": Row("each way a process can end", "within its deadline; nothing lost"),
    "versions": Row(
        "client, daemon and journal of versions that don't fit",
        "said on both sides; training goes on; nothing is removed",
    ),
    "any-order": Row(
        "all of these in orders that a random search finds",
        "nothing lost, nothing twice, reductions right, the ledger balances",
    ),
    "soak": Row("random faults for a while", "memory, file descriptors and disk stay flat"),
}
"""By their names."""

CAPS = {
    "ring": "ring of a rank",
    "spool": "spool of a rank",
    "journal": "journal of a run",
    "media": "media in memory, and in the spool",
    "pending-media": "media that wait to be encoded, a run",
    "encoding": "encoding one item",
    "credit": "unacked bytes of all ranks",
    "tail": "what backends have yet to get, a run",
    "endless": "memory that messages without end take",
    "names": "names of a row, layouts of a stream",
    "run-names": "different names of a run",
    "facts": "params and summary of a run",
    "causes": "causes for which a rank counts what it dropped",
    "sizes": "one record, one batch",
    "peers": "runs, ranks, connections",
    "questions": "questions of `reduced()`",
}
"""What is bounded, each with a test by `@pytest.mark.cap(name)` in each file that its line on the page names."""
