from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asynclog_proto._version import __version__

HEAVY = {
    "IPython", "comet_ml", "google.protobuf", "jax", "lightning", "matplotlib", "mlflow", "neptune_scale",
    "numpy", "pandas", "rich", "tensorboard", "torch", "wandb",
}  # fmt: skip


def output_of(script: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=cwd, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def test_importing_the_client_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = set(output_of("import sys, asynclog; print(*sys.modules)", tmp_path).split())
    assert loaded & HEAVY == set()


def test_importing_the_client_does_not_load_the_daemon(tmp_path: Path) -> None:
    loaded = output_of("import sys, asynclog; print(*sys.modules)", tmp_path).split()
    assert [name for name in loaded if name.split(".")[0] == "asynclogd"] == []


def test_the_contract_for_backends_is_there_and_nobody_loads_it_by_chance(tmp_path: Path) -> None:
    loaded = output_of("import sys, asynclog, asynclog.testing; print(*sys.modules)", tmp_path).split()
    assert [name for name in loaded if name.startswith("asynclogd")] == []
    told = output_of("from asynclog.testing import contract; print(contract.BackendContract.__module__)", tmp_path)
    assert told.strip() == "asynclogd.testing"


def test_importing_the_client_starts_no_thread_and_leaves_no_file(tmp_path: Path) -> None:
    assert output_of("import threading, asynclog; print(threading.active_count())", tmp_path).strip() == "1"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["asynclog", "asynclogd", "asynclog_proto"])
def test_each_package_tells_the_one_version(package: str, tmp_path: Path) -> None:
    assert output_of(f"import {package} as p; print(p.__version__)", tmp_path).strip() == __version__


@pytest.mark.parametrize("foreign", ["daemon", "proto", "tests"])
def test_an_editable_install_hides_no_foreign_package(foreign: str, tmp_path: Path) -> None:
    """python-daemon's `daemon` and proto-plus's `proto` win over this tree's, even later on the path."""
    (tmp_path / foreign).mkdir()
    (tmp_path / foreign / "__init__.py").write_text("")
    script = f"import sys; sys.path.append({str(tmp_path)!r}); import {foreign}; print({foreign}.__file__)"
    assert Path(output_of(script, tmp_path.parent).strip()).parent == tmp_path / foreign
