"""A model of the system: ranks, daemon, journal, reducer, sink and files, all real, in one process, driven by hand in
orders that Hypothesis finds. Frames and acks are lost, repeated and reordered, ranks and the daemon die anywhere; when
all is healed, the run holds what was logged, each value once.

MACHINE_EXAMPLES=5000 has it look longer, at other orders each time, MACHINE_STEPS=100 at longer ones. A failure prints
the calls that led to it: they become a test of test_orders.py.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.faults.handrank import SPOOL_BYTES, HandRank
from tests.faults.logged import Logged
from tests.faults.parts import Parts

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "150"))
STEPS = int(os.environ.get("MACHINE_STEPS", "50"))

ANY = st.integers(0, 1 << 16)
"""Which one of what there is: modulo their number."""

NAMES = st.sampled_from([("a",), ("a", "b"), ("b", "c"), ("own",), ("hi",)])
COUNTS = st.sampled_from([1, 1, 2, 5, 20, 60])
ODD = st.sampled_from([None] * 8 + [float("nan"), float("inf")])
FAULTS = st.sampled_from(["", "", "", "", "error", "half", "permanent"])


def nth(of: list[HandRank], which: int) -> list[HandRank]:
    """One of these, or none where there is none."""
    return of[which % len(of) :][:1] if of else []


class System(Parts, RuleBasedStateMachine):
    """What may happen."""

    def teardown(self) -> None:
        self.end()

    # -- ranks: a rule that nothing is there for does nothing, so that what is drawn depends on nothing ------------

    @initialize(world=st.sampled_from([1, 2, 2, 3]))
    def begins(self, world: int) -> None:
        self.logged = Logged(world)
        self.begin_launch(back=0)

    @rule(which=ANY, names=NAMES, step=st.sampled_from([0, 1, 1, 2, 3, -1, -4]), count=COUNTS, odd=ODD)
    def one_logs(self, which: int, names: tuple[str, ...], step: int, count: int, odd: float | None) -> None:
        """Rows, each `step` further than the last one."""
        for one in nth(self.logging, which):
            for _ in range(count):
                self.log(one, names, self.last(one) + step, odd)

    @rule(names=NAMES, count=COUNTS)
    def all_log(self, names: tuple[str, ...], count: int) -> None:
        """The steps after the highest that any of them has logged."""
        first = max(map(self.last, self.logging), default=0) + 1
        for step in range(first, first + count):
            for one in self.logging:
                self.log(one, names, step)

    @rule(which=ANY, seconds=st.sampled_from([0.1, 0.1, 0.1, 0.6, 6.0]))
    def sender_turns(self, which: int, seconds: float) -> None:
        for one in nth(self.living, which):
            one.turn(seconds)
            assert one.spool.size <= SPOOL_BYTES

    @rule(which=ANY, ends=st.sampled_from(["", "in time", "at once"]))
    def one_flushes_or_finishes(self, which: int, ends: str) -> None:
        """At once: it leaves what is not acked in its spool."""
        for one in nth(self.logging, which):
            if ends:
                one.finish(at_once=ends == "at once")
                one.turn(0.1)
            else:
                one.flush()

    @rule(which=ANY, in_mid_spool=st.booleans())
    def rank_dies(self, which: int, in_mid_spool: bool) -> None:
        for one in nth(self.living, which):
            one.kill(in_mid_spool=in_mid_spool)

    @rule(which=ANY)
    def rank_comes_again(self, which: int) -> None:
        newest = {each.rank: each for each in self.ranks if each.launch == self.launch}
        for gone in nth([each for each in newest.values() if not each.alive and not each.said_end], which):
            self.start_rank(gone.rank)

    @rule(back=st.integers(-1, 6))
    def is_launched_again(self, back: int) -> None:
        """When all of its ranks have gone; it goes on some steps before the last one."""
        if not self.living:
            self.begin_launch(back)

    @rule(back=st.integers(-1, 6))
    def is_launched_beside_itself(self, back: int) -> None:
        """While ranks of the last launch live, which the daemon knows of: else it takes the one that it hears of last
        for the newer one.
        """
        self.daemon_commits()
        known = [] if self.daemon.run is None else list(self.daemon.run.sessions.values())
        if any(each.launch == self.launch for each in self.living) and any(
            session.stream.launch == f"launch{self.launch}" for session in known
        ):
            self.begin_launch(back)

    # -- the wire -----------------------------------------------------------------------------------------------

    @rule(which=ANY, frame=st.sampled_from([0, 0, 0, 0, 1, 2, 7]), kept=st.sampled_from([False, False, False, True]))
    def daemon_hears(self, which: int, frame: int, kept: bool) -> None:
        """A message, which may come again, or before others that were sent before it."""
        for one in nth([each for each in self.ranks if each.wire.up], which):
            self.up(one, frame % len(one.wire.up), kept=kept)

    @rule()
    def daemon_hears_all(self) -> None:
        self.hear_all()

    @rule(which=ANY, frame=st.sampled_from([0, 0, 1, 2, 7]), kept=st.booleans())
    def rank_hears(self, which: int, frame: int, kept: bool) -> None:
        for one in nth([each for each in self.living if each.wire.down], which):
            at = frame % len(one.wire.down)
            one.wire.arrived.append(one.wire.down[at])
            if not kept:
                del one.wire.down[at]

    @rule()
    def ranks_hear_all(self) -> None:
        self.acks_arrive()

    @rule(which=ANY, up=st.booleans())
    def frames_are_lost(self, which: int, up: bool) -> None:
        for one in nth([each for each in self.ranks if each.wire.up or each.wire.down], which):
            (one.wire.up if up else one.wire.down).clear()

    @rule()
    def all_goes_well(self) -> None:
        """For one round: each sender wakes, everything is heard, committed and acked."""
        for each in self.living:
            each.turn(0.1)
        self.hear_all()
        self.daemon_commits()
        self.acks_arrive()

    # -- the daemon ---------------------------------------------------------------------------------------------

    @rule()
    def daemon_commits(self) -> None:
        self.daemon.commit()
        self.notice_death()

    @rule()
    def daemon_looks(self) -> None:
        self.daemon.look()
        self.notice_death()

    @rule(passes=st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 100]), fault=FAULTS)
    def sink_goes_on(self, passes: int, fault: str) -> None:
        """Past so many of the places before and after each call of its backend, the next of which may fail."""
        self.daemon.gate.fault = fault
        self.daemon.sinks(passes)
        self.notice_death()

    @rule(back=st.integers(0, 3))
    def step_is_refused_for_good(self, back: int) -> None:
        self.daemon.gate.refused.add((self.logged.top() or 0) - back)

    @rule()
    def deadlines_pass(self) -> None:
        self.daemon.pass_deadlines()
        self.notice_death()

    @rule(times=st.integers(1, 3))
    def journals_disk_is_full(self, times: int) -> None:
        self.daemon.disk_full(times)

    @rule(commits=st.integers(1, 3), how=st.sampled_from(["before", "after", "torn"]))
    def daemon_is_to_die(self, commits: int, how: str) -> None:
        self.daemon.dies_at(commits, how)

    @rule(in_order=st.booleans())
    def daemon_is_restarted(self, in_order: bool) -> None:
        if in_order:
            self.daemon.close()
        else:
            self.daemon.die()
        self.start_daemon()


@pytest.mark.fault("any-order")
def test_what_was_logged_is_in_the_files_once_in_whatever_order_things_happen() -> None:
    run_state_machine_as_test(
        System,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=bool(os.environ.get("CI")) and "MACHINE_EXAMPLES" not in os.environ,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
