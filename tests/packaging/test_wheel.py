from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from asynclog_proto._version import __version__
from tests.packaging.conftest import build_wheel, clean_environment

PACKAGES = {"asynclog", "asynclogd", "asynclog_proto"}

# Installing the wheel's dependencies from the index takes most of a minute on a slow line.
pytestmark = pytest.mark.timeout(400)


def run_in(environment: Path, cwd: Path, program: str, *arguments: str) -> str:
    command = [str(environment / program), *arguments]
    done = subprocess.run(
        command, check=False, cwd=cwd, capture_output=True, text=True, env=clean_environment(), timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {*PACKAGES, f"asynclogd-{__version__}.dist-info"}
    assert not [name for name in names if "tests/" in name or "test_" in name or name.endswith((".pyc", ".toml"))]


def test_each_package_says_that_it_is_typed(wheel: Path) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(zipfile.ZipFile(wheel).namelist())


def test_log_is_compiled_in_a_wheel_for_this_python(wheel: Path, empty_environment: Path, tmp_path: Path) -> None:
    assert wheel.name.split("-")[2] == f"cp{sys.version_info.major}{sys.version_info.minor}"
    said = run_in(empty_environment, tmp_path, "python", "-c", "from asynclog.writer import Writer; print(Writer)")
    assert said.strip() == "<class 'asynclog._writer.Writer'>"


def test_without_a_c_compiler_there_is_a_wheel_in_python_alone(tmp_path: Path) -> None:
    """CC names a program that is not there, as on a machine without one."""
    path = build_wheel(tmp_path, {"CC": "no-such-compiler", "ASYNCLOG_COMPILE": ""})
    assert path.name.endswith("-py3-none-any.whl")
    zipfile.ZipFile(path).extractall(tmp_path / "site")
    script = (
        "import sys; sys.path.insert(0, 'site'); from asynclog.writer import COMPILED, Writer; print(COMPILED, Writer)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False <class 'asynclog.pywriter.Writer'>", done.stderr


def test_the_licence_comes_along(wheel: Path) -> None:
    assert f"asynclogd-{__version__}.dist-info/licenses/LICENSE" in zipfile.ZipFile(wheel).namelist()


def test_the_command_runs_in_an_empty_environment(empty_environment: Path, tmp_path: Path) -> None:
    usage = run_in(empty_environment, tmp_path, "asynclog", "--help")
    assert all(command in usage for command in ("daemon", "run", "status", "sync"))


def test_the_installed_client_is_the_wheels_own(empty_environment: Path, tmp_path: Path) -> None:
    script = "import asynclog; print(asynclog.__version__, asynclog.__file__)"
    version, file = run_in(empty_environment, tmp_path, "python", "-c", script).split()
    assert version == __version__
    assert Path(file).is_relative_to(empty_environment.parent)


def test_every_backend_that_the_wheel_registers_can_be_found(empty_environment: Path, tmp_path: Path) -> None:
    """Loading an entry point needs no SDK: those are imported by `open()`."""
    script = (
        "from importlib.metadata import entry_points\n"
        "for point in entry_points(group='asynclog.backends'): print(point.name, point.load().__name__)"
    )
    found = dict(line.split() for line in run_in(empty_environment, tmp_path, "python", "-c", script).splitlines())
    assert found == {
        "comet": "CometBackend",
        "csv": "CsvBackend",
        "jsonl": "JsonlBackend",
        "mlflow": "MlflowBackend",
        "neptune": "NeptuneBackend",
        "parquet": "ParquetBackend",
        "swanlab": "SwanlabBackend",
        "tensorboard": "TensorBoardBackend",
        "trackio": "TrackioBackend",
        "wandb": "WandbBackend",
    }


LOG_AND_READ_BACK = """
import csv, sys, asynclog
with asynclog.init(project="p", name="r", dir=sys.argv[1]) as run:
    for step in range(100):
        run.log({"loss": step / 2}, step=step)
rows = list(csv.DictReader(open(sys.argv[1] + "/p/r/csv/metrics.csv")))
print(len(rows), rows[99]["loss"])
"""


def test_what_is_logged_there_can_be_read_back(empty_environment: Path, tmp_path: Path, runtime_dir: Path) -> None:
    command = [str(empty_environment / "python"), "-c", LOG_AND_READ_BACK, str(tmp_path)]
    environ = {**clean_environment(), "ASYNCLOG_RUNTIME_DIR": str(runtime_dir)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["100", "49.5"])
    assert list((tmp_path / "p" / "r" / "tensorboard").glob("events.out.tfevents.*"))
