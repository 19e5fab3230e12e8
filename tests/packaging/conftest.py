"""A wheel built from this tree, and an empty environment that it is installed into."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the backend that is installed here; it has to compile."""
    return build_wheel(tmp_path_factory.mktemp("dist"), {"ASYNCLOG_COMPILE": "1"})


def build_wheel(out: Path, environ: dict[str, str]) -> Path:
    """The wheel that this tree gives in such an environment."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, check=False, capture_output=True, text=True, env={**os.environ, **environ})
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of an environment that holds the wheel and what it depends on, and nothing else."""
    home = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(home, with_pip=True, symlinks=True)
    install = [
        str(home / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    done = subprocess.run([*install, str(wheel)], check=False, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stderr
    return home / "bin"


def clean_environment() -> dict[str, str]:
    """This environment without the ways by which a Python finds the source tree."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
