"""What all ranks have to know alike: the version, so that they write to one directory, and the launch's id; and
whether one of them can't go on, so that all raise.

Of the first rank 0 decides. Words go through the key-value store of the process group: no collective, so a logger or a
callback that is used on some ranks only can't hang the others, and no device is involved.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

PATIENCE_S = 60.0
"""How long a rank waits for rank 0's word."""


def agree(topic: str, rank: int, proposal: dict[str, Any]) -> dict[str, Any]:
    """Rank 0's proposal, on every rank. The n-th call for a topic on one rank meets the n-th one on the others.

    Raises TimeoutError when rank 0 has not called within PATIENCE_S.
    """
    met = _meeting(topic, rank)
    if met is None:  # a broadcast does the same
        words = [proposal]
        _distributed().broadcast_object_list(words, src=0)
        return words[0]
    store, key = met
    if rank == 0:
        store.set(key, json.dumps(proposal))
        return proposal
    _wait(store, key, PATIENCE_S, "rank 0 has not used its logger")
    word: dict[str, Any] = json.loads(store.get(key))
    return word


def complaint(topic: str, rank: int, world_size: int, own: str, patience: float) -> str:
    """A complaint that one of the ranks has, on every rank: its own where it has one; "" when none has any.

    Every rank calls it, and the n-th calls for a topic meet. Raises TimeoutError when some do not within `patience`
    seconds.
    """
    met = _meeting(topic, rank)
    if met is None:  # a gathering does the same
        words = [""] * world_size
        _distributed().all_gather_object(words, own)
        return own or next(filter(None, words), "")
    store, key = met
    if own:
        store.set(f"{key}/complaint", own)
        store.add(f"{key}/complaints", 1)
    if store.add(f"{key}/came", 1) == world_size:
        store.set(f"{key}/all", "came")
    _wait(store, f"{key}/all", patience, f"{topic}: not all ranks have come here")
    if own or not store.add(f"{key}/complaints", 0):
        return own
    return str(store.get(f"{key}/complaint").decode())


def _distributed() -> Any:
    return sys.modules["torch"].distributed


def _meeting(topic: str, rank: int) -> tuple[Any, str] | None:
    """The process group's store, and the key at which the n-th calls for a topic meet; None where torch, whose private
    function it takes, has it no more.
    """
    c10d = _distributed().distributed_c10d
    if not hasattr(c10d, "_get_default_store"):
        return None
    store = c10d._get_default_store()  # noqa: SLF001 - as above
    return store, f"asynclog/{topic}/{store.add(f'asynclog/{topic}/asked-by-{rank}', 1)}"


def _wait(store: Any, key: str, seconds: float, late: str) -> None:
    try:
        store.wait([key], timedelta(seconds=seconds))
    except RuntimeError as error:  # torch's DistStoreError
        raise TimeoutError(f"{late} within {seconds:g} s") from error
