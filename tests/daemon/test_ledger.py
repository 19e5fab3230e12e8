"""The ledger balances, whatever clients have or have not reported."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto import frames
from asynclogd.entries import Cursor, Stream
from asynclogd.ledger import balance

COUNT = st.integers(0, 10**9)


def stream(issued: int, dropped: dict[str, int]) -> Stream:
    return Stream(1, 0, 1, "i", "l", "host", 1, "", "", issued=issued, dropped=dropped)


@given(
    reports=st.lists(st.tuples(COUNT, st.dictionaries(st.sampled_from(["bad_value", "ring_full"]), COUNT))),
    host_values=COUNT,
    journaled=COUNT,
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_issued_is_journaled_and_in_transit_and_dropped_and_each_backend_accounts_for_all(
    reports: list[tuple[int, dict[str, int]]], host_values: int, journaled: int, shares: tuple[float, float]
) -> None:
    delivered = int(journaled * shares[0])
    limited = int((journaled - delivered) * shares[1])
    cursors = {"csv": Cursor(delivered=delivered, limited=limited)}
    ledger = balance([stream(*report) for report in reports], host_values, journaled, cursors)
    assert ledger["in_transit"] >= 0
    assert ledger["issued"] == ledger["journaled"] + ledger["in_transit"] + sum(ledger["dropped"].values())
    row = ledger["backends"]["csv"]
    assert row["delivered"] + row["pending"] + row["limited"] + row["dead"] == ledger["journaled"]


def test_what_ranks_count_out_of_all_proportion_fits_an_answer() -> None:
    most = (1 << 63) - 1
    ledger = balance([stream(most, {"x": most})] * 3, 0, 0, {})
    answer = frames.Ledger(complete=True, ledger=ledger)
    assert frames.decode(frames.encode(answer))[0] == answer
    assert (ledger["issued"], ledger["dropped"]) == (most, {"x": most})


def test_what_a_rank_has_said_but_not_sent_is_in_transit() -> None:
    ledger = balance([stream(issued=100, dropped={"bad_value": 3})], 10, 90, {})
    assert (ledger["issued"], ledger["in_transit"], ledger["dropped"]) == (110, 17, {"bad_value": 3})


def test_what_was_lost_is_what_is_missing_once_every_rank_has_ended() -> None:
    ended = replace(stream(issued=100, dropped={"bad_value": 3}), state="ended", lost=4)
    ledger = balance([ended], 10, 90, {})
    assert (ledger["issued"], ledger["in_transit"], ledger["dropped"]) == (110, 0, {"bad_value": 3, "lost": 17})


def test_lost_records_of_a_rank_whose_counts_are_gone_are_a_value_each() -> None:
    for state in ("dead", "live"):
        ledger = balance([replace(stream(issued=0, dropped={}), state=state, lost=4)], 0, 90, {})
        assert (ledger["issued"], ledger["in_transit"], ledger["dropped"]) == (94, 0, {"lost": 4})


def test_media_that_the_daemon_dropped_are_told_beside_what_ranks_dropped() -> None:
    cursors = {"csv": Cursor(delivered=7)}
    found = balance([stream(12, {"media_full": 2})], 0, 7, cursors, {"media_full": 1, "media_refused": 2})
    assert found["dropped"] == {"media_full": 3, "media_refused": 2}
    assert (found["issued"], found["in_transit"], found["backends"]["csv"]["pending"]) == (12, 0, 0)
