"""The ledger balances, whatever clients have or have not reported."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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


def test_what_a_rank_has_said_but_not_sent_is_in_transit() -> None:
    ledger = balance([stream(issued=100, dropped={"bad_value": 3})], 10, 90, {})
    assert (ledger["issued"], ledger["in_transit"], ledger["dropped"]) == (110, 17, {"bad_value": 3})
