"""A client and a daemon of nothing but the two flows, on a network that does what it likes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asynclog_proto.flow import Pending, ReceiveFlow, SendFlow

RECORD_SIZE = 10


class Client:
    """Records are their own sequence numbers; `held` is what a ring would hold."""

    def __init__(self) -> None:
        self.flow = SendFlow()
        self.next_seq = 0

    def log(self, count: int) -> None:
        self.flow.offer(Pending(self.next_seq, count, count * RECORD_SIZE))
        self.next_seq += count

    def receive(self, answer: tuple[str, int, int]) -> list[Pending]:
        kind, next_seq, credit = answer
        if kind == "reset":
            self.flow.close()
            return []
        return self.flow.welcome(next_seq, credit) if kind == "welcome" else self.flow.ack(next_seq, credit)


class Daemon:
    """`journal` survives; `taken` is what a group commit has not reached yet."""

    def __init__(self) -> None:
        self.journal: list[int] = []
        self.restart()

    def restart(self) -> None:
        self.known = False
        self.taken: list[int] = []
        self.flow = ReceiveFlow(len(self.journal), len(self.journal))

    def receive(self, message: tuple[str, int, int], credit: int) -> tuple[str, int, int] | None:
        kind, first_seq, count = message
        if kind == "hello":
            self.known = True
            assert self.flow.hello(first_seq) == 0, "what was acked is journaled"
            return "welcome", self.flow.committed, credit
        if not self.known:
            return "reset", 0, 0
        receipt = self.flow.batch(first_seq, count)
        if receipt.gap:
            return "reset", 0, 0
        if receipt.take:
            self.taken += range(first_seq + receipt.skip, first_seq + count)
            return None
        return "ack", self.flow.committed, credit

    def commit(self, records: int) -> None:
        self.journal += self.taken[:records]
        del self.taken[:records]
        self.flow.commit(len(self.journal))

    def fail_commit(self) -> None:
        self.taken.clear()
        self.flow.rollback()
        self.known = False


class Network(RuleBasedStateMachine):
    """Messages in either direction are delivered in any order, twice, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.client, self.daemon = Client(), Daemon()
        self.up: list[tuple[str, int, int]] = []
        self.down: list[tuple[str, int, int]] = []
        self.credit = 50

    @rule(count=st.integers(1, 9))
    def log(self, count):
        self.client.log(count)

    @rule()
    def say_hello(self):
        """After a reconnect, a reset, or a silence that lasted too long."""
        self.client.flow.close()
        self.up.append(("hello", self.client.flow.first_seq, 0))

    @rule()
    def send(self):
        while batch := self.client.flow.take():
            self.up.append(("batch", batch.first_seq, batch.count))

    @precondition(lambda self: self.up)
    @rule(data=st.data(), once=st.sampled_from([True, True, True, False]))
    def reaches_the_daemon(self, data, once):
        at = data.draw(st.integers(0, len(self.up) - 1))
        message = self.up.pop(at) if once else self.up[at]
        answer = self.daemon.receive(message, self.credit)
        if answer:
            self.down.append(answer)

    @precondition(lambda self: self.down)
    @rule(data=st.data(), once=st.sampled_from([True, True, True, False]))
    def reaches_the_client(self, data, once):
        at = data.draw(st.integers(0, len(self.down) - 1))
        answer = self.down.pop(at) if once else self.down[at]
        self.client_receives(answer)

    def client_receives(self, answer):
        for freed in self.client.receive(answer):
            assert freed.next_seq <= len(self.daemon.journal), "freed before it was journaled"

    @precondition(lambda self: self.up or self.down)
    @rule(data=st.data())
    def is_lost(self, data):
        lane = data.draw(st.sampled_from([lane for lane in (self.up, self.down) if lane]))
        lane.pop(data.draw(st.integers(0, len(lane) - 1)))

    @rule()
    def everything_arrives(self):
        """Both ways, in order: without this rule the rare orders would be all there is."""
        while self.up:
            answer = self.daemon.receive(self.up.pop(0), self.credit)
            if answer:
                self.down.append(answer)
        while self.down:
            self.client_receives(self.down.pop(0))

    @rule(what=st.sampled_from(["connection", "daemon", "commit"]))
    def breaks(self, what):
        if what == "connection":
            self.up.clear()
            self.down.clear()
        elif what == "daemon":
            self.daemon.restart()
        else:
            self.daemon.fail_commit()

    @rule(records=st.integers(0, 30))
    def commits(self, records):
        self.daemon.commit(records)
        if self.daemon.known:
            self.down.append(("ack", self.daemon.flow.committed, self.credit))

    @rule(credit=st.integers(0, 120))
    def credit_changes(self, credit):
        self.credit = credit

    @invariant()
    def journal_has_each_record_once_in_order(self):
        assert self.daemon.journal == list(range(len(self.daemon.journal)))

    @invariant()
    def nothing_is_missing(self):
        held = [seq for b in self.client.flow.queue for seq in range(b.first_seq, b.next_seq)]
        assert held == list(range(self.client.flow.first_seq, self.client.next_seq))
        assert self.client.flow.first_seq <= len(self.daemon.journal)

    @invariant()
    def in_flight_is_what_it_says(self):
        flow = self.client.flow
        sent = list(flow.queue)[: flow.in_flight]
        assert flow.in_flight_bytes == sum(batch.size for batch in sent)

    def teardown(self):
        """When the network behaves, everything arrives."""
        assert deliver(self.client, self.daemon, self.credit)
        assert self.daemon.journal == list(range(self.client.next_seq))
        assert not self.client.flow.queue


def deliver(client: Client, daemon: Daemon, credit: int) -> bool:
    """Whether everything is acked after as many rounds as there are batches, and a hello."""
    client.receive(daemon.receive(("hello", client.flow.first_seq, 0), credit) or ("reset", 0, 0))
    for _ in range(len(client.flow.queue) + 1):
        while batch := client.flow.take():
            daemon.receive(("batch", batch.first_seq, batch.count), credit)
        daemon.commit(len(daemon.taken))
        client.receive(("ack", daemon.flow.committed, credit))
    return not client.flow.queue


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@pytest.mark.cap("credit")
@given(st.lists(st.integers(1, 20), min_size=1), st.integers(0, 100))
def test_unacked_bytes_stay_within_the_credit_but_for_a_single_batch(counts, credit):
    flow, seq = SendFlow(), 0
    for count in counts:
        flow.offer(Pending(seq, count, count * RECORD_SIZE))
        seq += count
    flow.welcome(0, credit)
    sent = []
    while batch := flow.take():
        sent.append(batch)
        assert flow.in_flight_bytes <= credit or len(sent) == 1
    assert sent, "a batch larger than the credit goes out alone"


def test_nothing_goes_out_before_the_welcome_or_after_a_reset():
    flow = SendFlow()
    flow.offer(Pending(0, 1, 1))
    assert flow.take() is None
    flow.welcome(0, 10)
    flow.close()
    assert flow.take() is None


def test_a_batch_acked_in_its_middle_is_sent_whole_and_taken_in_part():
    client, daemon = SendFlow(), ReceiveFlow(next_seq=3, committed=3)
    client.offer(Pending(0, 5, 50, source="here"))
    assert client.welcome(daemon.committed, 100) == []
    assert client.take() == Pending(0, 5, 50, source="here")
    receipt = daemon.batch(0, 5)
    assert (receipt.take, receipt.skip, daemon.next_seq) == (True, 3, 5)


def test_a_hello_between_taking_and_committing_takes_nothing_twice():
    daemon = ReceiveFlow()
    assert daemon.batch(0, 4).take
    assert daemon.hello(0) == 0
    assert daemon.committed == 0
    assert not daemon.batch(0, 4).take


def test_records_acked_by_a_journal_that_is_gone_are_counted_as_lost():
    daemon = ReceiveFlow()
    assert daemon.hello(7) == 7
    assert daemon.batch(7, 1).take


def test_an_ack_that_was_overtaken_takes_nothing_back():
    flow = SendFlow()
    flow.offer(Pending(0, 2, 2))
    flow.offer(Pending(2, 2, 2))
    flow.welcome(0, 10)
    assert [batch.first_seq for batch in flow.ack(2, 10)] == [0]
    assert flow.ack(1, 10) == []
    assert flow.first_seq == flow.acked_seq == 2
