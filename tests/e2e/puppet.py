"""A training process that does what it is told: a JSON command a line on stdin, a JSON answer a line on stdout.

puppet.py OUT RANK WORLD MODE [RESUME]; commands are [method of the run, arguments, keywords]. A future is kept, and
["result", [number], {}] waits for the one of that number: its value as float.hex, or its error. ["step", [], {}] is
answered with the last step.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future
from typing import Any

import asynclog

futures: list[Future[float]] = []


def do(run: asynclog.Run, method: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    if method == "result":
        try:
            return futures[arguments[0]].result(60).hex()
        except asynclog.NoValueError as error:
            return str(error)
    if method == "step":
        return run.stats.step
    answer = getattr(run, method)(*arguments, **keywords)
    if method == "reduced":
        futures.append(answer)
        return len(futures) - 1
    return str(answer) if method == "finish" else answer


def main() -> None:
    out, rank, world, mode, *resume = sys.argv[1:]
    name, former = (None, resume[0]) if resume else ("run", None)
    run = asynclog.init("p", name, dir=out, rank=int(rank), world_size=int(world), mode=mode, resume=former)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(do(run, *json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
