"""Ranks that were started together agree on launch and name; those of another launch do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

from asynclog.launch import identify
from asynclog.ranks import Ranks

TELL = """
import json, os, sys
from asynclog import launch, ranks
print(json.dumps(launch.identify(os.environ, ranks.resolve(os.environ), "inc" + str(os.getpid()))), flush=True)
"""
# A launcher: starts ranks as torchrun does, directly or through a shell as a user's wrapper would.
AGENT = """
import os, subprocess, sys
wrapped = sys.argv[1] == "wrapped"
for restart in ("0", "1"):
    for rank in ("0", "1"):
        environ = {**os.environ, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                   "TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500" + restart,
                   "TORCHELASTIC_RESTART_COUNT": restart}
        command = [sys.executable, "-c", sys.argv[2]]
        if wrapped:
            command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
        subprocess.run(command, env=environ, check=True)
"""


def agent(how: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AGENT), how, TELL], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_ranks_of_one_torchrun_agree_and_a_restart_continues_the_run() -> None:
    first, second, again_first, again_second = agent("direct")
    assert first == second
    assert again_first == again_second
    assert first[0] != again_first[0]
    assert first[1] == again_first[1]


def test_ranks_behind_a_wrapper_agree_too() -> None:
    first, second, *_ = agent("wrapped")
    assert first == second


def test_two_launches_differ() -> None:
    one, two = agent("direct")[0], agent("direct")[0]
    assert one[0] != two[0]
    assert one[1] != two[1]


def test_nodes_of_one_torchrun_agree() -> None:
    shared = {"TORCHELASTIC_RUN_ID": "job7", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    one = identify(shared | {"MASTER_PORT": "1"}, Ranks(0, 4, "torchrun"), "a")
    two = identify(shared | {"MASTER_PORT": "1"}, Ranks(3, 4, "torchrun"), "b")
    restarted = identify(shared | {"MASTER_PORT": "2", "TORCHELASTIC_RESTART_COUNT": "1"}, Ranks(0, 4, "torchrun"), "c")
    assert one == two
    assert (one.name, one.id != restarted.id) == (restarted.name, True)


def test_slurm_tells_job_step_and_requeue() -> None:
    environ = {"SLURM_JOB_ID": "123", "SLURM_STEP_ID": "0"}
    one = identify(environ, Ranks(0, 4, "slurm"), "a")
    requeued = identify(environ | {"SLURM_RESTART_COUNT": "1"}, Ranks(0, 4, "slurm"), "b")
    assert one == identify(environ, Ranks(3, 4, "slurm"), "c")
    assert (one.name, requeued.name) == ("slurm-123-0", "slurm-123-0")
    assert one.id != requeued.id


def test_a_process_alone_is_a_launch_of_its_own() -> None:
    assert identify({}, Ranks(0, 1), "abc").id == "abc"


def test_processes_of_one_parent_with_explicit_ranks_agree() -> None:
    one, two = identify({}, Ranks(0, 2), "a"), identify({}, Ranks(1, 2), "b")
    assert one == two
    assert os.getppid() > 0
