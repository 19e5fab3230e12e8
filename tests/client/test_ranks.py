from __future__ import annotations

import pytest

from asynclog.ranks import RankError, Ranks, resolve

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}
SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
MPI = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "5"}
PMI = {"PMI_RANK": "0", "PMI_SIZE": "2"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Ranks(0, 1)),
        (TORCHRUN, Ranks(3, 8, "torchrun")),
        (SLURM, Ranks(1, 4, "slurm")),
        (MPI, Ranks(2, 5, "openmpi")),
        (PMI, Ranks(0, 2, "pmi")),
        (SLURM | TORCHRUN, Ranks(3, 8, "torchrun")),
        (SLURM | MPI, Ranks(2, 5, "openmpi")),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7"}, Ranks(1, 2, "slurm")),
    ],
)
def test_the_innermost_launcher_tells(environ: dict[str, str], expected: Ranks) -> None:
    assert resolve(environ) == expected


def test_a_batch_script_outside_srun_is_one_process() -> None:
    environ = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
    assert resolve(environ) == Ranks(0, 1)
    assert resolve(environ | {"SLURM_STEP_ID": "0"}) == Ranks(0, 4, "slurm")


def test_arguments_come_first() -> None:
    assert resolve(TORCHRUN, rank=0, world_size=2)[:2] == (0, 2)
    assert resolve(TORCHRUN, rank=5)[:2] == (5, 8)
    assert resolve(TORCHRUN, world_size=4)[:2] == (3, 4)
    assert resolve({}, rank=0)[:2] == (0, 1)
    assert resolve({}, world_size=1)[:2] == (0, 1)


@pytest.mark.parametrize(
    ("environ", "arguments", "text"),
    [
        ({"RANK": "8", "WORLD_SIZE": "8"}, {}, "RANK=8 does not fit WORLD_SIZE=8"),
        ({"RANK": "-1", "WORLD_SIZE": "8"}, {}, "RANK=-1"),
        ({"RANK": "x", "WORLD_SIZE": "8"}, {}, "RANK is a whole number, not 'x'"),
        ({"RANK": "0", "WORLD_SIZE": ""}, {}, "WORLD_SIZE is a whole number, not ''"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, {}, "WORLD_SIZE=0 is not in 1.."),
        ({"RANK": "0"}, {}, "RANK is set but WORLD_SIZE is not"),
        ({"WORLD_SIZE": "2"}, {}, "WORLD_SIZE is set but RANK is not"),
        ({"SLURM_PROCID": "4", "SLURM_NTASKS": "4"}, {}, "SLURM_PROCID=4 does not fit SLURM_NTASKS=4"),
        (TORCHRUN, {"world_size": 2}, "RANK=3 does not fit world_size=2"),
        ({}, {"rank": 3}, "rank=3 without world_size"),
        ({}, {"world_size": 3}, "world_size=3 without rank"),
        ({}, {"rank": 2, "world_size": 2}, "rank=2 does not fit world_size=2"),
        ({}, {"rank": -1, "world_size": 2}, "rank=-1"),
        ({}, {"rank": True, "world_size": 2}, "rank is an int, not True"),
        ({}, {"rank": 0, "world_size": 1.0}, "world_size is an int, not 1.0"),
        ({}, {"rank": "0", "world_size": 1}, "rank is an int, not '0'"),
        ({}, {"rank": 0, "world_size": 1 << 17}, "world_size=131072"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_variable(
    environ: dict[str, str], arguments: dict[str, int], text: str
) -> None:
    with pytest.raises(RankError) as error:
        resolve(environ, **arguments)
    assert text in str(error.value)
    assert isinstance(error.value, ValueError)
