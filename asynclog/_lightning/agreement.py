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
    torch = sys.modules["torch"]
    c10d = torch.distributed.distributed_c10d
    if not hasattr(c10d, "_get_default_store"):  # private; a broadcast does the same where it is gone
        words = [proposal]
        torch.distributed.broadcast_object_list(words, src=0)
        return words[0]
    store = c10d._get_default_store()  # noqa: SLF001 - as above
    count = store.add(f"asynclog/{topic}/asked-by-{rank}", 1)
    key = f"asynclog/{topic}/{count}"
    if rank == 0:
        store.set(key, json.dumps(proposal))
        return proposal
    try:
        store.wait([key], timedelta(seconds=PATIENCE_S))
    except RuntimeError as error:  # torch's DistStoreError
        raise TimeoutError(f"rank 0 has not used its logger within {PATIENCE_S:g} s") from error
    word: dict[str, Any] = json.loads(store.get(key))
    return word


def complaint(topic: str, rank: int, world_size: int, own: str, patience: float) -> str:
    """A complaint that one of the ranks has, on every rank: its own where it has one; "" when none has any.

    Every rank calls it, and the n-th calls for a topic meet. Raises TimeoutError when some do not within `patience`
    seconds.
    """
    c10d = sys.modules["torch"].distributed.distributed_c10d
    if not hasattr(c10d, "_get_default_store"):  # as above
        words = [""] * world_size
        sys.modules["torch"].distributed.all_gather_object(words, own)
        return own or next(filter(None, words), "")
    store = c10d._get_default_store()  # noqa: SLF001 - as above
    count = store.add(f"asynclog/{topic}/asked-by-{rank}", 1)
    key = f"asynclog/{topic}/{count}"
    if own:
        store.set(f"{key}/complaint", own)
        store.add(f"{key}/complaints", 1)
    if store.add(f"{key}/came", 1) == world_size:
        store.set(f"{key}/all", "came")
    try:
        store.wait([f"{key}/all"], timedelta(seconds=patience))
    except RuntimeError as error:  # torch's DistStoreError
        raise TimeoutError(f"{topic}: not all ranks have come here within {patience:g} s") from error
    if own or not store.add(f"{key}/complaints", 0):
        return own
    return str(store.get(f"{key}/complaint").decode())
