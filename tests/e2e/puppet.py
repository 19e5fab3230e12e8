"""A training process that does what it is told: a JSON command a line on stdin, a JSON answer a line on stdout.

puppet.py OUT RANK WORLD MODE; commands are [method of the run, arguments, keywords], or ["reduced", key, ...] and so on
as `do` has them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import asynclog


def do(run: asynclog.Run, method: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    answer = getattr(run, method)(*arguments, **keywords)
    return str(answer) if method == "finish" else answer


def main() -> None:
    out, rank, world, mode = sys.argv[1:]
    run = asynclog.init("p", "run", dir=out, rank=int(rank), world_size=int(world), mode=mode)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(do(run, *json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
