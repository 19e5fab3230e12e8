"""Orders that test_machine.py has found, as they were when something was wrong with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.gate import BACKEND
from tests.faults.logged import read
from tests.faults.test_machine import System


@pytest.fixture
def of_two() -> Iterator[System]:
    system = System()
    system.begins(world=2)
    yield system
    system.teardown()


@pytest.fixture
def of_one() -> Iterator[System]:
    system = System()
    system.begins(world=1)
    yield system
    system.teardown()


@pytest.mark.fault("any-order")
def test_a_launch_that_left_no_rows_does_not_supersede_the_one_after_it(of_two: System) -> None:
    """Its ranks died before they logged, and no daemon was there until the next launch had logged."""
    system = of_two
    kill_all(system)
    system.begin_launch(back=0)
    system.one_logs(which=0, names=("a",), step=1, count=1, odd=None)
    system.rank_dies(which=0, in_mid_spool=False)
    system.one_logs(which=0, names=("a",), step=1, count=1, odd=None)


@pytest.mark.fault("any-order")
@pytest.mark.parametrize("noticed", ["by the watch", "as the next launch comes"])
def test_what_a_known_rank_left_comes_before_what_an_unknown_one_of_the_next_launch_left(
    of_two: System, noticed: str
) -> None:
    system = of_two
    system.all_log(names=("a",), count=1)
    system.sender_turns(which=0, seconds=0.1)
    system.daemon_hears_all()
    kill_all(system)
    system.begin_launch(back=0)
    system.rank_dies(which=0, in_mid_spool=False)
    if noticed == "by the watch":
        system.daemon_looks()
    else:
        system.all_goes_well()


@pytest.mark.fault("any-order")
def test_what_a_launch_left_in_its_spool_alone_comes_before_the_next_launch(of_one: System) -> None:
    """Else a later daemon takes the older steps for the newer ones."""
    system = of_one
    system.all_log(names=("a",), count=5)
    system.one_flushes_or_finishes(which=0, ends="at once")
    system.frames_are_lost(which=0, up=True)
    system.begin_launch(back=2)
    system.all_log(names=("a",), count=5)
    system.all_goes_well()
    system.all_goes_well()
    system.daemon_is_restarted(in_order=False)


@pytest.mark.fault("any-order")
@pytest.mark.parametrize("heard", [False, True])
def test_what_a_launch_left_in_a_ring_and_a_spool_comes_before_a_ring_of_the_next_one(
    of_two: System, *, heard: bool
) -> None:
    """Nobody knows of them, or the daemon that did has gone: by the rings alone it would be a launch of one rank."""
    system = of_two
    system.all_log(names=("a",), count=20)
    if heard:
        system.sender_turns(which=1, seconds=0.1)
        system.daemon_hears_all()
        system.daemon_is_restarted(in_order=False)
    system.rank_dies(which=1, in_mid_spool=False)
    system.one_flushes_or_finishes(which=0, ends="at once")
    system.is_launched_again(back=5)
    system.all_log(names=("a",), count=5)
    system.rank_dies(which=0, in_mid_spool=False)
    system.daemon_looks()


@pytest.mark.fault("any-order")
@pytest.mark.parametrize("ended", [False, True])
def test_what_a_rank_left_that_died_unheard_is_of_the_launch_in_which_it_came_again(
    of_two: System, *, ended: bool
) -> None:
    """The rank is at work again, or has ended, when it is found; how the run ends is said by those who came last."""
    system = of_two
    system.all_log(names=("a",), count=3)
    system.sender_turns(which=1, seconds=0.1)
    system.daemon_hears_all()
    system.rank_dies(which=0, in_mid_spool=False)
    system.rank_comes_again(which=0)
    system.all_log(names=("a",), count=3)
    system.all_goes_well()
    if ended:
        while system.logging:
            system.one_flushes_or_finishes(which=0, ends="in time")
        system.all_goes_well()
    system.daemon.look()
    system.all_log(names=("a",), count=3)
    system.heal()
    assert read(system.run_dir / BACKEND / "points.jsonl")[-1] == {"end": "success"}


@pytest.mark.fault("any-order")
def test_a_rank_that_ends_before_it_is_acked_leaves_no_file(of_one: System) -> None:
    system = of_one
    system.all_goes_well()
    system.one_flushes_or_finishes(which=0, ends="at once")
    system.all_goes_well()
    system.daemon.look()
    assert not system.left()


@pytest.mark.fault("any-order")
def test_a_rank_that_is_killed_after_its_end_leaves_no_ring_while_the_run_goes_on(of_two: System) -> None:
    system = of_two
    system.all_goes_well()
    system.one_flushes_or_finishes(which=0, ends="in time")
    system.all_goes_well()
    ring = system.ranks[0].file.path
    system.ranks[0].kill()
    system.daemon.look()
    assert ring is not None
    assert not ring.exists()


@pytest.mark.fault("any-order")
def test_what_a_run_that_was_closed_has_left_is_taken_up_by_the_next_daemon(of_one: System) -> None:
    system = of_one
    system.all_goes_well()
    system.one_flushes_or_finishes(which=0, ends="at once")
    system.all_goes_well()
    system.daemon.sinks(100)
    system.daemon_is_restarted(in_order=True)
    system.daemon.look()
    assert not system.left()


@pytest.mark.fault("any-order")
def test_a_hello_that_comes_again_of_a_process_that_is_dead_is_not_the_ranks_latest(of_one: System) -> None:
    """Its rank would be waited for, for ever."""
    system = of_one
    system.all_log(names=("a",), count=1)
    system.sender_turns(which=0, seconds=0.1)
    first = system.ranks[0]
    hello = list(first.wire.up[0])
    for _ in range(2):
        system.all_goes_well()
        system.rank_dies(which=0, in_mid_spool=False)
        system.daemon_looks()
        system.rank_comes_again(which=0)
    system.rank_dies(which=0, in_mid_spool=False)
    system.daemon.deliver(first.peer, hello)


@pytest.mark.fault("any-order")
@pytest.mark.parametrize("up", [True, False])
def test_a_rank_that_has_ended_asks_again_when_its_finish_or_the_answer_is_lost(of_one: System, *, up: bool) -> None:
    system = of_one
    system.all_log(names=("a",), count=1)
    system.one_flushes_or_finishes(which=0, ends="in time")
    (one,) = system.ranks
    while not one.sender._stream._finish_sent:
        system.hear_all()
        system.daemon_commits()
        system.acks_arrive()
        one.turn(0.1)
    if not up:
        system.hear_all()
        system.daemon_commits()
        system.sink_goes_on(passes=100, fault="")
        system.daemon_commits()
        assert one.wire.down
    system.frames_are_lost(which=0, up=up)
    system.heal()


@pytest.mark.fault("any-order")
def test_a_ring_stays_where_it_is_when_the_run_can_not_be_journaled(
    of_two: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of a rank that has logged nothing: without it the other one is alone for ever in a world of two."""
    system = of_two
    system.sender_turns(which=0, seconds=0.1)
    system.daemon_hears_all()
    system.daemon_commits()
    kill_all(system)

    def fails(*_: object) -> list[int]:
        raise RuntimeError("a defect")

    async def look() -> None:
        await system.daemon.hub.rounds.look()
        await system.daemon.hub.rounds.look()

    monkeypatch.setattr(system.daemon, "journal_commit", fails)
    system.daemon._loop.run_until_complete(look())
    assert len(system.left()) == 2
    system.daemon_is_restarted(in_order=False)


@pytest.mark.fault("outlived")
@pytest.mark.parametrize("dies", [False, True])
def test_a_launch_that_lives_on_puts_nothing_in_the_place_of_what_the_next_one_has_said(
    of_one: System, caplog: pytest.LogCaptureFixture, *, dies: bool
) -> None:
    """A daemon that dies meanwhile decides as the one before did."""
    system = of_one
    system.all_log(names=("a",), count=10)
    all_goes_well(system)
    system.is_launched_beside_itself(back=4)
    old, new = system.living
    for step in range(6, 9):
        system.log(new, ("a",), step)
    all_goes_well(system)
    for step in (4, 5, 6, 8, 30):
        system.log(old, ("b",), step)
    for step in (6, 7, 12):
        system.log(old, ("a",), step)
    all_goes_well(system)
    assert [each.getMessage()[:22] for each in caplog.records if each.name.endswith("caveats")] == [
        "run p/run: 6 values of"
    ]
    if dies:
        system.daemon_is_restarted(in_order=False)
    system.log(old, ("a",), 8)
    system.heal()
    assert system.daemon.run is not None
    assert system.daemon.run.ledger()["dropped"] == {"superseded": 7}
    lines = [line for line in read(system.run_dir / BACKEND / "points.jsonl") if isinstance(line, tuple)]
    assert [(step, *values) for step, values in lines] == [
        *((step, "a") for step in [*range(10), 6, 7, 8]),
        *((step, "b") for step in (4, 5)),
    ]


def all_goes_well(system: System) -> None:
    """Until what was logged is journaled and in the file."""
    for _ in range(5):
        system.all_goes_well()
        system.sink_goes_on(passes=100, fault="")


def kill_all(system: System) -> None:
    while system.living:
        system.rank_dies(which=0, in_mid_spool=False)
