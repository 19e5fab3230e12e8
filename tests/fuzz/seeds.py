"""Writes the first inputs of each target into FOLDER/TARGET: `python -m tests.fuzz.seeds [FOLDER]`.

The frames are a real client's, which logs to a daemon that answers as a script has it and keeps what came in; what a
daemon says, and files of dead ranks, are those of proto/vectors.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import asynclog
from asynclog_proto import frames, records, ringfile, spoolfile
from asynclog_proto.frames import Ask, Batch, Finish, Flush, Heartbeat, Hello, Message
from tests.client.scripted import ScriptedDaemon
from tests.fuzz import ingest, journal, remains
from tests.fuzz.__main__ import CORPUS
from tests.fuzz.pieces import join

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "proto" / "vectors"

Sent = list[tuple[Message, bytes]]


class Recording(ScriptedDaemon):
    """Keeps each message and its payload."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.sent: Sent = []

    def _answers(self, peer: bytes, message: Message, payload: memoryview) -> list[Message]:
        self.sent.append((message, bytes(payload)))
        return super()._answers(peer, message, payload)


def log(run: asynclog.Run) -> None:
    """Something of each kind."""
    run.params({"lr": 0.1, "net": {"depth": 3}, "name": "résumé", "none": None})
    run.define("best/*", reduce=["max", "mean"], per_rank=True, lane="evals")
    for step in range(6):
        run.log({"loss": 1.0 / (step + 1), "best/acc": float(step)}, step=step)
        run.log({"lr": 0.1, "loss/nan": float("nan")}, step=step)
    image, weights = asynclog.Image(np.zeros((4, 4, 3), np.uint8)), asynclog.Histogram(np.arange(8.0))
    run.log({"image": image, "note": asynclog.Text("hello"), "weights": weights}, step=6)
    run.flush(30)
    run.reduced("loss", step=3).result(30)
    run.summary({"best": 0.5})


def recorded() -> Sent:
    """What a client says in a run."""
    with tempfile.TemporaryDirectory(prefix="al-") as folder:
        os.environ["ASYNCLOG_RUNTIME_DIR"] = folder
        endpoint = f"ipc://{folder}/scripted.sock"
        daemon = Recording(endpoint)
        daemon.start()
        run = asynclog.init(project="p", name="run", dir=f"{folder}/out", endpoint=endpoint)
        log(run)
        run.finish()
        daemon.kill()
        return [(_placed(message), payload) for message, payload in daemon.sent]


def _placed(message: Message) -> Message:
    """With nothing of this machine in it."""
    if isinstance(message, Hello):
        here = replace(message, dir=ingest.DIRECTORY, host="node", pid=7)
        return replace(here, ring="/r/x.ring", spool="/runs/p/run/spool/0-a", outbox="/r/x.outbox")
    return message


def _parts(message: Message, payload: bytes = b"") -> list[bytes]:
    return [bytes(part) for part in frames.encode(message, payload if isinstance(message, Batch) else None)]


def _vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def messages(sent: Sent) -> Iterator[bytes]:
    """Every kind of message."""
    for message, payload in sent:
        yield join(_parts(message, payload))
    for vector in _vectors("frames.json"):
        yield join([bytes.fromhex(part) for part in vector["frames"]])


def codec(sent: Sent) -> Iterator[bytes]:
    """Payloads as they came, all in one, and each kind of record."""
    payloads = [payload for message, payload in sent if isinstance(message, Batch)]
    for payload in payloads:
        yield b"\0" + payload
    yield b"\3" + b"".join(payloads)
    layout = records.encode(records.Layout(0, ("a",)))
    for vector in _vectors("records.json"):
        yield b"\0" + layout + bytes.fromhex(vector["hex"])


def plays(sent: Sent) -> Iterator[bytes]:
    """A run of one rank; of two, whose messages alternate; one that is started again; records that come twice."""
    first = [(message, payload) for message, payload in sent if not isinstance(message, Hello)]
    hello = next(message for message, _ in sent if isinstance(message, Hello))
    one = ingest.message(0, _parts(hello)) + b"".join(ingest.message(0, _parts(*each)) for each in first)
    yield one
    second = replace(hello, rank=1, world_size=2, incarnation="second")
    yield (
        ingest.message(0, _parts(replace(hello, world_size=2)))
        + ingest.message(1, _parts(second), at_once=True)
        + b"".join(ingest.message(peer, _parts(*each), at_once=bool(peer)) for each in first for peer in (1, 0))
    )
    again = replace(hello, incarnation="again", launch="again")
    yield one + ingest.message(2, _parts(again)) + b"".join(ingest.message(2, _parts(*each)) for each in first)
    yield one + b"".join(ingest.message(0, _parts(*each)) for each in first)
    yield (
        ingest.message(0, _parts(hello))
        + b"".join(
            ingest.message(0, _parts(message))
            for message in (
                Heartbeat(5, 10, {"bad_value": 1}), Flush(0, 3), Ask(1, 0, "loss", None), Finish(10, {}),
                frames.Query(),
            )
        )
    )  # fmt: skip


def left(sent: Sent) -> Iterator[bytes]:
    """Rings, segments and outboxes of dead ranks."""
    for vector in _vectors("ring.json"):
        header = bytes.fromhex(vector["header_hex"]).ljust(ringfile.HEADER, b"\0")
        yield remains.ring_pieces(header + bytes.fromhex(vector["data_hex"]))
    for vector in _vectors("spool.json"):
        yield bytes([remains.SPOOL]) + bytes.fromhex(vector["hex"])
    finish = next(message for message, _ in sent if isinstance(message, Finish))
    yield bytes([remains.COUNTS]) + spoolfile.counts(_parts(finish)[0])
    for vector in _vectors("outbox.json"):
        yield bytes([remains.OUTBOX]) + struct.pack(">QI", 10, 20) + bytes.fromhex(vector["hex"])


def spoiled(_: Sent) -> Iterator[bytes]:
    """A bit, a page, the end; and each table's row as what it may not be."""
    yield join([journal.edit(journal.FLIP, 20_000, b"\x10")])
    yield join([journal.edit(journal.ZEROS, 8192, bytes(64)), journal.edit(journal.FLIP, 100, b"\1")])
    yield join([journal.edit(journal.CUT, 40_000, b"")])
    yield join([journal.edit(journal.WRITE, 60, b"\0\0\0\2")])
    for table in range(6):
        yield join([journal.edit(journal.ROW, table, b"\x93\1\2\3")])
    yield join([journal.edit(journal.ROW, 0, b"\1" + bytes(31))])


def settings(_: Sent) -> Iterator[bytes]:
    """The example that is deployed, and each way to say something."""
    example = (ROOT / "daemon" / "deploy" / "asynclog.toml").read_bytes()
    yield join([example, b"", b""])
    yield join([b'[backends.csv]\nrate_limit = { "train/*" = 10.0 }\nnames = ["a"]\nsince = 3\n', b"", b""])
    environ = (
        b"ASYNCLOG_DAEMON_DURABILITY=fsync\nASYNCLOG_HOST_METRICS_INTERVAL=2.5\nASYNCLOG_RING_MB=16\nASYNCLOG_MODE=auto"
    )
    yield join([b'[daemon]\nbind = "tcp://127.0.0.1:5555"\n', environ, b"--backend\ncsv\n--durability\nfsync"])
    yield join([b"[retention]\nolder_than = '30d'\n", b"ASYNCLOG_PROMETHEUS_PORT=0", b"--no-host-metrics\n--bind\nx"])


SEEDS = {
    "messages": messages,
    "codec": codec,
    "ingest": plays,
    "remains": left,
    "journal": spoiled,
    "config": settings,
}


def main() -> None:
    """Write them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS
    sent = recorded()
    for name, make in SEEDS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for data in make(sent):
            (folder / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    main()
