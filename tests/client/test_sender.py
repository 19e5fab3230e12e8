"""The sender against a daemon that is away, comes back, forgets, refuses or is slow."""

# ruff: noqa: PT031 - that a warning is told once shows over several calls

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import asynclog
from asynclog import AsynclogWarning
from asynclog_proto import frames, records, spoolfile
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]


def expected(count: int) -> list[tuple[int, str, float]]:
    return [(step, "x", float(step)) for step in range(count)]


def log(run: asynclog.Run, first: int, end: int) -> None:
    for step in range(first, end):
        run.log({"x": float(step)})


def spooled(run: asynclog.Run) -> list[bytes]:
    found = []
    for segment in sorted((run.dir / "spool").glob("*/*.spool")):
        data = memoryview(segment.read_bytes())
        for batch in spoolfile.read_batches(data):
            found += [bytes(batch.payload[start:end]) for start, end in records.iterate(batch.payload)]
    return found


def test_everything_is_acked_and_nothing_is_left(daemon: ScriptedDaemon, begin: Begin, runtime_dir: Path) -> None:
    run = begin()
    log(run, 0, 5000)
    assert list((runtime_dir / "rings").iterdir()) != []
    ledger = run.finish()
    assert (ledger.complete, ledger.issued, ledger.journaled) == (True, 5000, 5000)
    assert daemon.points() == expected(5000)
    assert daemon.records()[-1] == records.End("success")
    assert list((runtime_dir / "rings").iterdir()) == []
    assert [path.name for path in run.dir.iterdir()] == ["journal.begun"]


def test_finish_says_the_same_when_asked_again(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    log(run, 0, 3)
    assert run.finish("failed") == run.finish() == run.finish("killed", timeout=0)
    assert daemon.records()[-1] == records.End("failed")


def test_finish_refuses_a_status_that_is_none(daemon: ScriptedDaemon, begin: Begin) -> None:
    with pytest.raises(ValueError, match="status is one of success, failed, interrupted, killed"):
        begin().finish("done")


def test_a_batch_that_the_network_loses_is_sent_again(daemon: ScriptedDaemon, begin: Begin) -> None:
    lost: list[int] = []

    def lose_each_third(batch: object) -> bool:
        lost.append(len(lost))
        return len(lost) % 3 != 0

    daemon.before_batch = lose_each_third
    run = begin()
    log(run, 0, 20_000)
    assert run.finish().complete
    assert daemon.points() == expected(20_000)


def test_a_daemon_that_dies_and_comes_back_gets_each_record_once(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    done = 0
    for round_ in range(4):
        log(run, done, done + 500)
        done += 500
        eventually(lambda: len(daemon.records()) > 0, what="the daemon has some records")
        daemon.kill()
        log(run, done, done + 500)
        done += 500
        daemon.holds_acks = round_ % 2 == 0
        daemon.start()
    daemon.holds_acks = False
    assert run.finish().complete
    assert daemon.points() == expected(done)
    assert daemon.lost == 0


def test_a_daemon_that_forgets_the_stream_is_greeted_again(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    log(run, 0, 10)
    eventually(lambda: len(daemon.records()) == 11, what="the first rows are journaled")
    daemon._peers.clear()
    log(run, 10, 20)
    assert run.finish().complete
    assert daemon.points() == expected(20)


def test_a_daemon_away_makes_the_ring_spill_and_gets_it_all_later(
    endpoint: str, begin: Begin, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setenv("ASYNCLOG_RING_MB", "0.25")
    run = begin()
    log(run, 0, 20_000)  # 940 KB
    assert run.stats.spool_bytes > 500_000
    assert run.stats.dropped["ring_full"] == 0
    daemon = ScriptedDaemon(endpoint)
    daemon.start()
    eventually(lambda: run.stats.spool_bytes == 0, what="the spool is sent")
    log(run, 20_000, 21_000)
    assert run.finish().complete
    assert daemon.points() == expected(21_000)
    assert [path.name for path in run.dir.iterdir()] == ["journal.begun"]
    daemon.kill()


def test_what_no_daemon_took_is_in_the_spool_after_finish(begin: Begin, runtime_dir: Path) -> None:
    run = begin()
    log(run, 0, 100)
    with pytest.warns(AsynclogWarning, match="asynclog sync"):
        ledger = run.finish(timeout=0.1)
    assert not ledger.complete
    assert (ledger.issued, ledger.journaled, ledger.pending) == (100, 0, 100)
    kinds = [type(records.decode(record)) for record in spooled(run)]
    assert kinds == [records.Layout, *[records.Row] * 100, records.End]
    assert Path(ledger.spool).is_dir()
    assert list((runtime_dir / "rings").iterdir()) == []


def test_offline_everything_goes_to_the_spool(begin: Begin) -> None:
    run = begin(mode="offline", config={"a": 1})
    log(run, 0, 30_000)
    ledger = run.finish()
    assert (ledger.complete, ledger.pending) == (False, 30_000)
    assert len(spooled(run)) == 30_003
    segment = next(Path(ledger.spool).glob("*.spool"))
    hello = spoolfile.read_hello(memoryview(segment.read_bytes()))
    assert run.name.encode() in hello


@pytest.mark.filterwarnings("ignore::asynclog.AsynclogWarning")
def test_what_was_dropped_offline_is_told_beside_the_spool(begin: Begin) -> None:
    run = begin(mode="offline")
    log(run, 0, 10)
    run.log({"x": "no number", "": 1.0})
    ledger = run.finish()
    message, _ = frames.decode([spoolfile.read_counts(memoryview((Path(ledger.spool) / "counts").read_bytes()))])
    assert isinstance(message, frames.Finish)
    assert {cause: count for cause, count in message.dropped.items() if count} == {"bad_value": 1, "bad_name": 1}
    assert message.issued == ledger.issued == 12
    assert [path.name for path in Path(ledger.spool).iterdir() if path.suffix == ".part"] == []


def test_offline_is_the_mode_of_the_environment(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCLOG_MODE", "offline")
    assert begin().mode == "offline"


def test_a_refused_run_says_why_and_spools(daemon: ScriptedDaemon, begin: Begin, eventually: Eventually) -> None:
    daemon.refuses = "no such project"
    with pytest.warns(AsynclogWarning) as told:
        run = begin()
        log(run, 0, 10)
        eventually(lambda: daemon.hellos, what="the run has said hello")
        ledger = run.finish()
    texts = [str(one.message) for one in told]
    assert any("refuses this run: no such project" in text for text in texts)
    assert any("asynclog sync" in text for text in texts)
    assert ledger.pending == 10
    assert len(spooled(run)) == 12


def test_a_run_that_has_to_wait_says_why_once_and_arrives(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    daemon.holds_up = "the disk is full"
    with pytest.warns(AsynclogWarning) as told:
        run = begin()
        log(run, 0, 10)
        eventually(lambda: len(daemon.hellos) >= 2, what="the run has said hello twice")
        daemon.holds_up = ""
        assert run.finish().complete
    assert [str(one.message) for one in told] == ["asynclog: the disk is full"]
    assert daemon.points() == expected(10)


def test_a_run_that_had_to_wait_to_its_end_says_why(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    daemon.holds_up = "the disk is full"
    with pytest.warns(AsynclogWarning) as told:
        run = begin()
        log(run, 0, 10)
        eventually(lambda: daemon.hellos, what="the run has said hello")
        run.finish(timeout=0.5)
    assert any("the disk is full; the rest is in" in str(one.message) for one in told)


@pytest.mark.cap("ring")
@pytest.mark.cap("spool")
def test_the_spool_has_a_cap_and_then_rows_are_dropped_and_counted(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_RING_MB", "0.125")
    monkeypatch.setenv("ASYNCLOG_SPOOL_MB", "0.25")
    with pytest.warns(AsynclogWarning) as told:
        run = begin()
        log(run, 0, 20_000)
        run.finish(timeout=0)
    texts = [str(one.message) for one in told]
    assert sum("ring is full" in text for text in texts) == 1
    assert sum("ASYNCLOG_SPOOL_MB" in text for text in texts) == 1
    stats = run.stats
    assert stats.dropped["ring_full"] > 10_000
    assert stats.waits >= 1
    assert stats.spool_bytes <= 256 << 10


def test_a_directory_that_can_not_be_written_is_told_and_the_daemon_still_gets_everything(
    daemon: ScriptedDaemon, begin: Begin, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(AsynclogWarning, match="the run's directory .*Not a directory"):
        run = begin(dir=str(tmp_path / "file"))
    log(run, 0, 100)
    assert run.finish().complete
    assert daemon.points() == expected(100)


def test_an_endpoint_where_nobody_answers_is_told_once(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asynclog.launcher.PATIENCE_S", 0.2)
    monkeypatch.setattr("asynclog.ending.PATIENCE_S", 1.0)
    with pytest.warns(AsynclogWarning) as told:
        run = begin()
        log(run, 0, 10)
        before = time.monotonic()
        ledger = run.finish(timeout=30)
    assert time.monotonic() - before < 20
    assert sum("nothing answers at ipc://" in str(one.message) for one in told) == 1
    assert sum("no daemon answered at ipc://" in str(one.message) for one in told) == 1
    assert ledger.pending == 10


def test_heartbeats_tell_step_and_counts(daemon: ScriptedDaemon, begin: Begin, eventually: Eventually) -> None:
    run = begin()
    run.log({"x": 1.0, "y": 2.0}, step=7)
    eventually(lambda: daemon.heartbeats and daemon.heartbeats[-1].issued == 2, what="a heartbeat tells of it")
    assert daemon.heartbeats[-1].step == 7
    assert daemon.heartbeats[-1].dropped["bad_value"] == 0


def never_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that is silent dozes at once, and wakes by nothing but a call."""
    monkeypatch.setattr("asynclog.sender.DOZE_AFTER_S", 0.0)
    monkeypatch.setattr("asynclog.sender.DOZING_HEARTBEAT_S", 1e6)
    monkeypatch.setattr("asynclog.stream.HEARTBEAT_S", 1e6)


def dozes(run: asynclog.Run) -> bool:
    return bool(run._rows.writer.asleep)


@pytest.mark.parametrize("mode", ["auto", "offline"])
def test_a_silent_rank_sleeps_until_a_call_wakes_it(
    mode: str, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_by_itself(monkeypatch)
    run = begin(mode=mode)

    def arrived(count: int) -> bool:
        return (len(daemon.points()) if mode == "auto" else len(spooled(run)) - 1) == count

    for count in range(1, 4):
        run.log({"x": 0.0})
        eventually(partial(arrived, count), what="the row")
        eventually(lambda: dozes(run), what="the sender asleep")
    run.define("x", reduce="max")
    run.summary(best=1.0)
    assert run.finish().issued == 3


def test_a_rank_that_dozes_answers_a_flush_at_once_and_ends_at_once(
    daemon: ScriptedDaemon, begin: Begin, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_by_itself(monkeypatch)
    run = begin()
    run.log({"x": 0.0})
    eventually(lambda: dozes(run), what="the sender asleep")
    assert run.flush(20)
    eventually(lambda: dozes(run), what="the sender asleep again")
    assert run.finish().complete
    assert daemon.points() == expected(1)


def test_a_rank_that_dozes_says_that_it_lives(daemon: ScriptedDaemon, begin: Begin, eventually: Eventually) -> None:
    run = begin()
    run.log({"x": 0.0})
    eventually(lambda: dozes(run), what="the sender asleep")
    before = len(daemon.heartbeats)
    eventually(lambda: len(daemon.heartbeats) >= before + 2, what="two heartbeats")
    assert dozes(run)


def test_the_spool_that_someone_deletes_is_told_and_the_rest_arrives(
    endpoint: str, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_RING_MB", "0.25")
    run = begin()
    log(run, 0, 10_000)
    for segment in (run.dir / "spool").glob("*/*.spool"):
        segment.unlink()
    daemon = ScriptedDaemon(endpoint)
    daemon.start()
    with pytest.warns(AsynclogWarning, match="records of the spool are lost"):
        assert run.finish().complete
    assert daemon.lost > 0
    assert records.decode(daemon.journal[daemon.hellos[0].incarnation][-1]) == records.End("success")
    daemon.kill()
