"""Where the bodies of a run's media are, from the call to the end of the run."""

# ruff: noqa: PT031 - that a warning is told once shows over several calls

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import asynclog
from asynclog import AsynclogWarning
from asynclog_proto import frames, outboxfile, places, ringfile, spoolfile
from asynclog_proto.media import Media, Place
from asynclog_proto.records import decode, iterate
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]
MIB = 1 << 20


def megabytes(count: float, fill: int = 1) -> asynclog.Histogram:
    return asynclog.Histogram(np.full(int(count * MIB), fill, np.uint8))


def outbox_of(daemon: ScriptedDaemon) -> Path:
    return Path(daemon.hellos[-1].outbox)


def spool_of(daemon: ScriptedDaemon) -> Path:
    return Path(daemon.hellos[-1].spool)


def files_of(record: Media) -> int:
    assert isinstance(record.body, Place)
    return record.body.file


def test_the_hello_names_an_outbox_beside_the_ring_that_is_made_by_the_first_body(
    daemon: ScriptedDaemon, begin: Begin
) -> None:
    run = begin()
    run.log({"a": 1.0})
    run.log_text("t", "small")
    assert run.flush()
    hello = daemon.hellos[0]
    assert hello.outbox == str(Path(hello.ring).with_suffix(".outbox"))
    assert not outbox_of(daemon).exists()
    run.log({"x": megabytes(0.5)})
    assert outbox_of(daemon).exists()
    assert run.flush()
    assert daemon.body(daemon.media()[1]) == b"\1" * (MIB // 2)


def test_a_finished_run_leaves_no_outbox(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log({"x": megabytes(0.5)})
    assert run.finish().complete
    assert not outbox_of(daemon).exists()
    assert not spool_of(daemon).exists()


def test_acks_free_the_outbox(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "1")
    monkeypatch.setenv("ASYNCLOG_MEDIA_SPOOL_MB", "0")
    run = begin()
    run.log({"x": megabytes(0.75)})
    assert run.flush()
    assert run.stats.media_bytes == 0.75 * MIB
    with pytest.warns(AsynclogWarning, match="media have no room"):
        run.log({"x": megabytes(0.75)})
    daemon.frees = MIB
    run.log({"a": 1.0})
    eventually(lambda: run.stats.media_bytes == 0)
    run.log({"x": megabytes(0.75, 2)})
    run.flush()
    assert daemon.body(daemon.media()[-1]) == b"\2" * (3 * MIB // 4)
    ledger = run.finish()
    assert ledger.dropped == {"media_full": 1}
    assert (ledger.issued, ledger.journaled) == (4, 3)


@pytest.mark.cap("media")
def test_what_has_no_room_in_the_outbox_goes_to_the_spool(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "1")
    run = begin()
    for fill in range(3):
        run.log({"x": megabytes(0.75, fill)})
    run.log({"larger": megabytes(1.5, 3)})
    run.flush()
    assert [files_of(record) for record in daemon.media()] == [0, 1, 1, 1]
    assert [daemon.body(record)[0] for record in daemon.media()] == [0, 1, 2, 3]


def test_without_an_outbox_all_goes_to_the_spool(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "0")
    run = begin()
    run.log({"x": megabytes(0.5)})
    run.flush()
    assert daemon.hellos[0].outbox == ""
    assert files_of(daemon.media()[0]) == 1
    assert daemon.body(daemon.media()[0]) == b"\1" * (MIB // 2)


@pytest.mark.cap("media")
def test_at_the_cap_the_oldest_media_are_dropped_and_numbers_are_not(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "0")
    monkeypatch.setenv("ASYNCLOG_MEDIA_SPOOL_MB", "2")
    run = begin()
    with pytest.warns(AsynclogWarning, match="are at their cap, ASYNCLOG_MEDIA_SPOOL_MB=2: the oldest") as told:
        for step in range(5):
            run.log({"x": megabytes(1, step), "a": float(step)})
    assert len(told) == 1
    run.flush()
    assert [value for _, _, value in daemon.points()] == [0, 1, 2, 3, 4]
    assert [daemon.body(record)[0] for record in daemon.media()[3:]] == [3, 4]
    assert int(places.media_dropped_path(spool_of(daemon)).read_text()) == files_of(daemon.media()[2])
    assert run.stats.dropped["media_full"] == 0  # whoever has their records counts them


@pytest.mark.cap("media")
def test_one_that_is_larger_than_all_caps_is_dropped_and_told(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "1")
    monkeypatch.setenv("ASYNCLOG_MEDIA_SPOOL_MB", "2")
    run = begin()
    with (
        pytest.warns(AsynclogWarning, match="media have no room"),
        pytest.warns(AsynclogWarning, match="larger than ASYNCLOG_MEDIA_SPOOL_MB=2 are not spooled"),
    ):
        run.log({"x": megabytes(2.5)})
    run.log({"x": megabytes(1.5)})
    ledger = run.finish()
    assert ledger.dropped == {"media_full": 1}
    assert len(daemon.media()) == 1


def test_offline_bodies_are_in_the_spool_beside_their_records(begin: Begin, tmp_path: Path) -> None:
    run = begin(mode="offline")
    run.log({"x": megabytes(0.5, 7), "a": 1.0})
    run.finish()
    (directory,) = (tmp_path / "out" / "p").glob("*/spool/*/")
    (segment,) = directory.glob(f"*{spoolfile.SUFFIX}")
    (media,) = [record for record in _spooled(segment) if isinstance(record, Media)]
    assert files_of(media) == 1
    assert places.media_path(directory, 1).read_bytes() == b"\7" * (MIB // 2)


def test_what_no_daemon_took_is_in_the_spool_with_its_outbox(begin: Begin, tmp_path: Path) -> None:
    run = begin()
    run.log({"x": megabytes(0.5, 7)})
    with pytest.warns(AsynclogWarning, match="asynclog sync"):
        run.finish(timeout=0)
    (directory,) = (tmp_path / "out" / "p").glob("*/spool/*/")
    (segment,) = directory.glob(f"*{spoolfile.SUFFIX}")
    (media,) = [record for record in _spooled(segment) if isinstance(record, Media)]
    place = media.body
    assert isinstance(place, Place)
    assert place.file == 0
    data = places.spooled_outbox_path(directory).read_bytes()
    start = outboxfile.at(place, outboxfile.capacity_of(data))
    assert data[start : start + place.size] == b"\7" * (MIB // 2)
    rings = list((Path(os.environ["ASYNCLOG_RUNTIME_DIR"]) / "rings").iterdir())
    assert not rings


def test_what_the_daemon_has_journaled_and_not_read_stays_for_it(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.completes = False
    run = begin()
    run.log({"x": megabytes(0.5)})
    run.flush()
    with pytest.warns(AsynclogWarning, match="not all of it was in the files"):
        run.finish(timeout=1)
    assert outbox_of(daemon).exists()
    assert daemon.body(daemon.media()[0]) == b"\1" * (MIB // 2)


def test_a_killed_rank_leaves_ring_and_outbox_to_be_read(runtime_dir: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, numpy as np, asynclog\n"
        f"run = asynclog.init('p', 'r', dir={str(tmp_path)!r}, endpoint='ipc://{runtime_dir}/none.sock')\n"
        "run.log({'x': asynclog.Histogram(np.full(1 << 20, 5, np.uint8))})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (ring,) = (runtime_dir / "rings").glob("*.ring")
    data = memoryview(ring.read_bytes())
    state = ringfile.read_state(data)
    (media,) = [record for record in map(decode, ringfile.read_records(data, state)) if isinstance(record, Media)]
    hello, _ = frames.decode([state.hello])
    assert isinstance(hello, frames.Hello)
    assert isinstance(media.body, Place)
    outbox = Path(hello.outbox).read_bytes()
    start = outboxfile.at(media.body, outboxfile.capacity_of(outbox))
    assert outbox[start : start + media.body.size] == b"\5" * MIB


def test_a_full_ring_takes_its_body_back(daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCLOG_RING_MB", "0.125")
    run = begin()
    run.log({"x": megabytes(0.5)})
    before = run.stats.media_bytes
    with pytest.warns(AsynclogWarning, match="ring is full"):
        run.log({"x": asynclog.Image(np.zeros((50, 50)), caption="c" * 65_500)})
    assert run.stats.dropped["ring_full"] == 1
    assert run.stats.media_bytes == before


def test_where_no_outbox_can_be_made_it_is_told_once(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    eventually(lambda: daemon.hellos)
    outbox_of(daemon).write_text("in the way")
    with pytest.warns(AsynclogWarning, match="no outbox for media") as told:
        run.log({"x": megabytes(0.5)})
        run.log({"x": megabytes(0.5)})
    assert len(told) == 1
    run.flush()
    assert [files_of(record) for record in daemon.media()] == [1, 1]


def _spooled(segment: Path) -> list[object]:
    found: list[object] = []
    for batch in spoolfile.read_batches(memoryview(segment.read_bytes())):
        found += [decode(batch.payload[start:end]) for start, end in iterate(batch.payload)]
    return found
