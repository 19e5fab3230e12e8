from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from asynclogd.cli.trouble import lines

WELL = {
    "state": "ok",
    "error": "OSError: long ago",
    "trouble": "",
    "retries": 0,
    "retry_in_s": 0.0,
    "call": "write",
    "call_s": 0.3,
    "narrowed_to_bytes": 0,
    "started_over": 0,
}


def shown(**changes: Any) -> str:
    console = Console(file=io.StringIO(), width=500)
    for line in lines({"wandb": WELL | changes}):
        console.print(line, soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("state", ["ok", "closed"])
def test_a_backend_that_works_is_not_told_of(state: str) -> None:
    assert shown(state=state) == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"state": "retrying", "retries": 3, "error": "OSError: [Errno 111] refused", "retry_in_s": 12.4},
            "wandb is retrying, tried 3 times: OSError: [Errno 111] refused; again in 12 s\n",
        ),
        ({"state": "broken", "error": "none"}, "wandb is broken, tried 0 times: none\n"),
        ({"call_s": 61.2}, "wandb hangs? Its write has been going on for 61 s\n"),
        (
            {"call_s": 61.2, "state": "hanging"},
            "wandb hangs: its write has been going on for 61 s, longer than delivery.timeout\n",
        ),
        (
            {"narrowed_to_bytes": 20480},
            "wandb was throttled and is sent 20 KiB at a time, more as it takes that\n",
        ),
        ({"trouble": "W&B is [retried]: HTTP 500"}, "wandb: W&B is [retried]: HTTP 500\n"),
        ({"started_over": 2}, "wandb could not go on from where it was, and began anew 2 times\n"),
    ],
)
def test_what_is_wrong_is_one_line_each(changes: dict[str, Any], told: str) -> None:
    assert shown(**changes) == told
