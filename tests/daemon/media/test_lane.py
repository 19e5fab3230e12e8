"""Media through a whole pipeline with real worker processes: in order, once, counted, and never in metrics' way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynclog_proto import places, records
from asynclog_proto.frames import Flushed, Ledger
from asynclog_proto.media import Place
from asynclogd.media import lane as module
from asynclogd.points import Points
from tests.daemon.media.scene import Scene, file, play, text


def balanced(scene: Scene) -> None:
    """The ledger's equations, and that nothing is left."""
    ledger = scene.pipeline.ledger()
    assert ledger["issued"] == ledger["journaled"] + ledger["in_transit"] + sum(ledger["dropped"].values())
    assert ledger["in_transit"] == 0
    row = ledger["backends"]["jsonl"]
    assert ledger["journaled"] == row["delivered"] + row["pending"] + row["limited"] + row["dead"]
    assert row["pending"] == 0


def test_media_come_out_in_the_order_in_which_they_were_logged(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        said = [f"text {number}" * (number % 7 + 1) for number in range(50)]
        offset, placed = 0, []
        for number, each in enumerate(said):
            body = each.encode()
            place: str | Place = each
            if number % 3 == 1:
                place = scene.lay(0, offset, body)
            elif number % 3 == 2:
                place = scene.spill(0, 1, offset, body)
            placed.append(place)
            offset += len(body)
        scene.say(0, *(text(place, step) for step, place in enumerate(placed)))
        scene.end(0, len(said))
        await scene.until(lambda: scene.answers(0, Ledger))
        assert await scene.texts() == said
        assert [item.step for item in await scene.items()] == list(range(50))
        assert [(line["name"], line["step"], line["size"]) for line in scene.lines() if "media" in line.values()] == [
            ("note", step, len(each)) for step, each in enumerate(said)
        ]
        balanced(scene)
        assert scene.pipeline.ledger()["backends"]["jsonl"]["delivered"] == 50

    play(tmp_path / "p" / "run", act)


def test_ranks_have_names_of_their_own(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        for rank in range(2):
            scene.join(rank, 2)
            scene.say(rank, text(f"rank {rank}"))
        await scene.encoded()
        assert sorted((item.name, item.rank) for item in await scene.items()) == [("note", 0), ("note/rank1", 1)]

    play(tmp_path / "p" / "run", act)


def test_equal_bodies_are_stored_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        scene.say(0, *(text("the same", step) for step in range(5)))
        await scene.encoded()
        assert len({item.blob for item in await scene.items()}) == 1

    play(tmp_path / "p" / "run", act)


def test_what_cannot_be_encoded_is_a_dead_letter_that_says_why_and_the_ledger_balances(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        gone = Place(3, 0, 5)
        scene.say(0, text("one"), text("unfit", 1), text("crash", 2), text("hang", 3), text("memory", 4), text(gone, 5))
        scene.log(0, 6)
        scene.say(0, text("two", 7))
        scene.end(0, 8)
        await scene.until(lambda: scene.answers(0, Ledger))
        assert await scene.texts() == ["one", "two"]
        letters = sorted(await scene.letters())
        assert [letter.partition(" of rank 0: ")[0] for letter in letters] == [
            f"text 'note' at step {step}" for step in range(1, 6)
        ]
        for letter, why in zip(letters, ["a text that is unfit", "dies", "3 s", "memory", "is gone"], strict=True):
            assert why in letter
        assert scene.pipeline.ledger()["dropped"] == {"media_refused": 5}
        assert sum(dict(scene.pipeline.outcome.media.reasons).values()) == 5
        balanced(scene)
        assert scene.answers(0, Ledger)[0].ledger["dropped"] == {"media_refused": 5}

    play(tmp_path / "p" / "run", act, seconds=3.0)


@pytest.mark.parametrize("path", ["/etc/hostname", "relative/file", "file:///etc/hostname", "/", ""])
def test_a_path_of_a_rank_on_another_machine_is_a_dead_letter_and_reaches_no_backend(tmp_path: Path, path: str) -> None:
    async def act(scene: Scene) -> None:
        scene.join(afar=True)
        scene.say(0, file(path), file(path, 1, b"sent"))
        scene.end(0, 2)
        await scene.until(lambda: scene.answers(0, Ledger))
        (letter,) = await scene.letters()
        assert letter.startswith("file 'weights' at step 0 of rank 0: a file told by its path, from another machine")
        assert "copy=True" in letter
        assert await scene.texts() == ["sent"]
        assert scene.pipeline.ledger()["dropped"] == {"media_refused": 1}
        balanced(scene)

    play(tmp_path / "p" / "run", act)


def test_it_is_known_in_the_next_daemon_and_of_a_stream_that_somebody_afar_has_taken_over(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        scene.join()
        scene.say(0, file("/here"))
        await scene.encoded()
        assert await scene.letters() == []
        scene.pipeline.media.lane._put = lambda *_: None  # what becomes of it goes away with the daemon
        scene.join(afar=True)
        scene.say(0, file("/there", 1))
        await scene.settle()

    async def last(scene: Scene) -> None:
        await scene.encoded()
        assert [item.options["path"] for item in await scene.items()] == ["/here"]
        assert [letter.partition(" of rank")[0] for letter in await scene.letters()] == ["file 'weights' at step 1"]
        scene.join()  # and it stays so, for who speaks from where is not in the records that wait
        scene.say(0, file("/there", 2))
        await scene.encoded()
        assert len(await scene.letters()) == 2

    play(tmp_path / "p" / "run", first, last)


def test_what_its_rank_has_dropped_is_counted_as_that_and_is_no_dead_letter(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        spilt = [scene.spill(0, number, 0, f"file {number}".encode()) for number in (1, 2, 3)]
        places.media_dropped_path(scene.spool(0)).write_text("2")
        for number in (1, 2):
            places.media_path(scene.spool(0), number).unlink()
        scene.say(0, *(text(place, step) for step, place in enumerate(spilt)))
        scene.end(0, 3)
        await scene.until(lambda: scene.answers(0, Ledger))
        assert await scene.texts() == ["file 3"]
        assert scene.pipeline.ledger()["dropped"] == {"media_full": 2}
        assert await scene.letters() == []
        balanced(scene)
        await scene.until(lambda: not scene.spool(0).exists())

    play(tmp_path / "p" / "run", act)


def test_metrics_do_not_wait_for_media(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        scene.say(0, text("hang"))
        for step in range(20):
            scene.log(0, step)
        await scene.settle()
        await scene.until(lambda: len([line for line in scene.lines() if "metrics" in line]) == 20)
        assert scene.pipeline.outcome.media.pending == 1
        assert not scene.pipeline.complete

    play(tmp_path / "p" / "run", act, seconds=60.0)


def test_metrics_pass_by_500_megabytes_of_media(tmp_path: Path) -> None:
    size, count = 2 << 20, 250

    async def act(scene: Scene) -> None:
        scene.join()
        scene.spill(0, 1, size * count, b"")
        os.truncate(scene.spool(0) / "media-1.seg", size * count)
        for step in range(count):
            scene.say(0, text(Place(1, step * size, size), step))
            scene.log(0, step)
        await scene.until(lambda: len([line for line in scene.lines() if "metrics" in line]) == count)
        assert scene.pipeline.outcome.media.body_bytes > 100 << 20
        scene.end(0, 2 * count)
        await scene.until(lambda: scene.answers(0, Ledger))
        assert {item.blob.size for item in await scene.items()} == {size}
        balanced(scene)
        assert scene.pipeline.ledger()["backends"]["jsonl"]["delivered"] == 2 * count

    play(tmp_path / "p" / "run", act, seconds=60.0)


def test_a_flush_waits_for_the_media_of_its_steps_alone(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        scene.say(0, text("one", 1), text("two", 1))
        scene.flush(0, 1)
        await scene.until(lambda: scene.answers(0, Flushed))
        assert len([line for line in scene.lines() if line.get("type") == "media"]) == 2
        scene.say(0, text("hang", 3))
        scene.log(0, 2)
        scene.flush(0, 2)
        await scene.until(lambda: len(scene.answers(0, Flushed)) == 2)
        scene.flush(0, 3)
        await scene.settle()
        assert len(scene.answers(0, Flushed)) == 2
        await scene.until(lambda: len(scene.answers(0, Flushed)) == 3)  # it was refused at its time limit
        assert scene.pipeline.outcome.media.pending == 0

    play(tmp_path / "p" / "run", act, seconds=3.0)


def test_the_runs_end_comes_last(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        scene.say(0, *(text(f"{step}", step) for step in range(5)))
        scene.end(0, 5)
        await scene.until(lambda: scene.answers(0, Ledger))
        assert scene.lines()[-1] == {"end": "success"}
        assert [line.get("step") for line in scene.lines()[:-1]] == list(range(5))

    play(tmp_path / "p" / "run", act)


def test_acks_free_the_outbox_when_its_media_are_journaled(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        scene.say(0, text(scene.lay(0, 0, b"first")), text(scene.lay(0, 100, b"hang"), 1), text("inline", 2))
        await scene.until(lambda: scene.freed(0) == 100)
        assert scene.answers(0, Ledger) == []
        await scene.until(lambda: scene.freed(0) == 104)

    async def again(scene: Scene) -> None:
        scene.join()
        assert scene.freed(0) == 104  # a client whose acks were lost with a daemon is told again

    play(tmp_path / "p" / "run", act, again, seconds=1.0)


def test_what_was_pending_when_the_daemon_died_is_encoded_by_the_next_one_once(tmp_path: Path) -> None:
    said = [f"text {number}" for number in range(30)]

    async def first(scene: Scene) -> None:
        scene.join()
        placed = [scene.lay(0, 100 * number, each.encode()) for number, each in enumerate(said)]
        scene.say(0, *(text(place, step) for step, place in enumerate(placed)))
        await scene.settle()

    async def between(scene: Scene) -> None:
        await scene.until(lambda: scene.pipeline.media.store.bytes_used)

    async def last(scene: Scene) -> None:
        await scene.encoded()
        assert await scene.texts() == said
        assert len({item.blob for item in await scene.items()}) == len(said)
        assert scene.pipeline.media.store.bytes_used < 36 * 31 + sum(map(len, said)) + 36

    play(tmp_path / "p" / "run", first, between, between, last)


def test_what_was_stored_and_not_journaled_is_found_again(tmp_path: Path) -> None:
    """The moment between the two: what the lane would have journaled goes away with the daemon."""

    async def first(scene: Scene) -> None:
        kept: list[object] = []
        scene.pipeline.media.lane._put = lambda *lost: kept.append(lost)
        scene.join()
        scene.say(0, text("encoded, and then"), text("unfit"))
        await scene.until(lambda: len(kept) == 2)
        assert await scene.items() == []

    async def last(scene: Scene) -> None:
        size = scene.pipeline.media.store.bytes_used
        await scene.encoded()
        assert await scene.texts() == ["encoded, and then"]
        assert len(await scene.letters()) == 1
        assert scene.pipeline.media.store.bytes_used == size
        assert scene.pipeline.ledger()["dropped"] == {"media_refused": 1}

    play(tmp_path / "p" / "run", first, last)


def test_the_files_of_a_rank_that_has_ended_go_when_its_media_are_in(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        scene.join(1, 2)
        scene.say(0, text(scene.lay(0, 0, b"hang")), text(scene.spill(0, 1, 0, b"spilt"), 1), text("x", 2))
        scene.say(1, text(scene.lay(1, 0, b"lives on")))
        scene.end(0, 3)
        await scene.until(lambda: scene.pipeline.sessions["r0"].stream.state == "ended")
        assert scene.outbox(0).exists()
        assert scene.spool(0).exists()
        await scene.until(lambda: not scene.outbox(0).exists() and not scene.spool(0).exists())
        await scene.encoded()
        assert await scene.texts() == ["spilt", "x", "lives on"]
        assert scene.outbox(1).exists()

    play(tmp_path / "p" / "run", act, seconds=1.0)


def test_files_of_a_living_ranks_spool_go_when_it_has_begun_the_next_one(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        for number in (1, 2, 3):
            scene.say(0, text(scene.spill(0, number, 0, f"file {number}".encode())))
        await scene.until(lambda: [path.name for path in scene.spool(0).iterdir()] == ["media-3.seg"])
        await scene.encoded()
        assert await scene.texts() == ["file 1", "file 2", "file 3"]

    play(tmp_path / "p" / "run", act)


def test_the_files_of_a_dead_rank_go_when_its_media_are_in(tmp_path: Path) -> None:
    async def first(scene: Scene) -> None:
        scene.join()
        scene.say(0, text(scene.lay(0, 0, b"hang")))
        await scene.settle()
        await scene.pipeline.leave(scene.pipeline.sessions.values())
        assert scene.outbox(0).exists()

    async def next_daemon(scene: Scene) -> None:
        assert scene.outbox(0).exists()
        assert not scene.pipeline.complete
        await scene.until(lambda: not scene.outbox(0).exists())
        await scene.until(lambda: scene.pipeline.complete)

    play(tmp_path / "p" / "run", first, next_daemon, seconds=1.0)


def test_a_full_disk_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)

    async def act(scene: Scene) -> None:
        (scene.path / "media").write_text("where the store's directory should be")
        scene.join()
        scene.say(0, text("hello"), text("unfit"))
        await scene.until(lambda: scene.pipeline.media.lane.error)
        assert "FileExistsError" in scene.pipeline.media.lane.error
        assert scene.pipeline.outcome.media.pending == 2
        (scene.path / "media").unlink()
        await scene.encoded()
        assert await scene.texts() == ["hello"]
        assert scene.pipeline.media.lane.error == ""

    play(tmp_path / "p" / "run", act)


def test_rows_beside_media_are_points_as_ever(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.join()
        layout = records.Layout(0, ("loss",))
        rows = [records.Row(0, step, 0.0, 1.0, (float(step),)) for step in range(6)]
        scene.say(0, layout, rows[0], text("a"), rows[1], rows[2], text("b"), *rows[3:])
        await scene.encoded()
        items = await scene.pipeline._commits.in_thread(lambda: scene.pipeline._store.items(0, 1 << 30))
        points = [point for _, item in items if isinstance(item, Points) for point in item]
        assert [(point.step, point.value) for point in points] == [(step, float(step)) for step in range(6)]
        assert await scene.texts() == ["a", "b"]

    play(tmp_path / "p" / "run", act)
