"""Makes tests/daemon/golden/<version>: a run as this version's daemon leaves it when it is killed, and what is in it.

python -m tests.daemon.make_golden           # once for each release whose journal is another one; then look at it
python -m tests.daemon.make_golden 0.1.0     # an export is meant to look different: only what is expected, anew
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asynclog_proto import __version__, frames
from asynclog_proto.media import Media, Section
from asynclog_proto.records import Define, Hold, Layout, Params, Pass, Record, Rewind, Row, Summary
from asynclogd import talk
from tests.daemon.goldens import FORMS, GOLDEN, exported, facts_of, unpacked
from tests.daemon.speaker import Speaker

EPOCH = 1_700_000_000.0
BACKENDS = {
    "csv": {},
    "jsonl": {},
    "tensorboard": {"rate_limit": {"loss": 0.5}},  # holds values back when the daemon is killed
}
DEFINES = (
    Define("acc", ("max", "mean")),
    Define("time/*", ("sum",), per_rank=True),
    Define("val/*", ("mean",), lane="val_step", own_steps=True),
)
NAMES = Layout(0, ("loss", "acc", "time/step"))
VALIDATION = Layout(1, ("val/größe", "val_step"))


def row(step: int, *values: float, layout: int = 0, weight: float = 1.0) -> Row:
    return Row(layout, step, EPOCH + step, weight, values)


def rows(rank: int, steps: range) -> list[Row]:
    """Three rows in four are whole, the others have what JSON lacks."""
    odd = (float("nan"), float("inf"), -0.0)
    return [row(step, *(odd if step % 4 == 3 else (step / 8, rank / 2, float(rank)))) for step in steps]


def text(name: str, step: int, body: bytes, dtype: str = "text") -> Media:
    return Media(name, step, EPOCH + step, "text", (Section("text", dtype, (len(body),)),), {}, body)


def bins(step: int) -> Media:
    body = b"".join(int(number).to_bytes(1, "little") for number in range(16))
    return Media("weights", step, EPOCH + step, "histogram", (Section("values", "uint8", (16,)),), {"bins": 4}, body)


def picture(step: int) -> Media:
    body = bytes(range(48))
    return Media(
        "samples", step, EPOCH + step, "image", (Section("image", "uint8", (4, 4, 3)),), {"caption": "é"}, body
    )


@contextmanager
def daemon(runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", "--runtime-dir", str(runtime)]
    with subprocess.Popen(command, start_new_session=True) as process:
        while not (runtime / "daemon.sock").exists():
            time.sleep(0.01)
        try:
            yield process
        finally:
            process.kill()


def first_launch(runtime: Path, root: Path) -> None:
    """A world of two: reduced, revised, with media, params and a summary; ended by both."""
    speakers = [Speaker(runtime, root, f"a{rank}", launch="first", rank=rank, world=2) for rank in range(2)]
    with speakers[0] as zero, speakers[1] as one:
        for speaker in speakers:
            speaker.hello(BACKENDS)
            speaker.say(*DEFINES, NAMES, VALIDATION)
        zero.say(Params({"lr": 0.001, "layers": 12, "amp": True, "opt": "adam", "none": None}))
        zero.say(*rows(0, range(8)), Hold(6), Hold(None))
        one.say(*rows(1, range(8)))
        one.say(row(2, 100.0, 0.75, 1.0))  # late: the step is closed
        zero.say(row(8, 0.5, -1.0, layout=1), text("note", 8, b"hello"), bins(8), picture(8))
        zero.say(text("broken", 8, b"\xff\xfe"))
        said: list[tuple[Speaker, list[Record]]] = [(zero, [Summary({"best/acc": 0.5}), Pass(8)]), (one, [Pass(8)])]
        for speaker, last in said:
            speaker.say(*last)
        one.end(27)
        zero.end(30)


def second_launch(runtime: Path, root: Path) -> Speaker:
    """One rank goes on at step 4, is rewound to 6, flushes, and logs on."""
    speaker = Speaker(runtime, root, "b0", launch="second")
    speaker.hello()
    speaker.say(*DEFINES, NAMES, *rows(0, range(4, 10)), Rewind(6), *rows(3, range(6, 9)), Pass(8))
    speaker.ask(frames.Flush(speaker.seq, 8), frames.Flushed)
    speaker.say(*rows(3, range(9, 12)))
    return speaker


def pack(run_dir: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for file in sorted(run_dir.rglob("*")):
            if file.is_file():
                packed.write(file, file.relative_to(run_dir))


def make(target: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        runtime, root = Path(directory, "r"), Path(directory, "out")
        with daemon(runtime) as first:
            first_launch(runtime, root)
            talk.ask(f"ipc://{runtime}/daemon.sock", "stop")  # leaves a snapshot
            first.wait()
        with daemon(runtime) as second, second_launch(runtime, root):
            os.kill(second.pid, signal.SIGKILL)  # leaves the last commits in the log beside the database
            second.wait()
        target.mkdir(parents=True)
        pack(root / "p" / "run", target / "run.zip")


def expect(target: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run_dir = unpacked(target.name, Path(directory))
        facts = facts_of(run_dir)
        for form in FORMS:
            (target / form).mkdir(exist_ok=True)
            for name, content in exported(run_dir, form, Path(directory, form)).items():
                (target / form / name).write_bytes(content)
    (target / "journal.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    place = GOLDEN / (sys.argv[1] if len(sys.argv) > 1 else __version__)
    if len(sys.argv) == 1:
        make(place)
    expect(place)
