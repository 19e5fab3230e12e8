"""What a sink is told when a backend's SDK is missing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from asynclogd.backends.base import RunInfo
from asynclogd.delivery import BrokenError
from asynclogd.entries import Cursor
from asynclogd.opening import Opening
from asynclogd.ratelimit import RateLimiter
from asynclogd.watch import Watch
from tests.daemon.filebackend import FileBackend


class Wanting(FileBackend):
    requires: ClassVar[tuple[str, str] | None] = ("no_such_sdk", "wandb")


def opened(backend: FileBackend, run_dir: Path) -> Opening:
    return Opening("file", backend, RunInfo("p", "run", run_dir, run_dir / "own"), RateLimiter({}), Cursor(), Watch())


def test_a_missing_sdk_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    told = r'no_such_sdk is not installed where the daemon runs: pip install "asynclogd\[wandb\]"'
    with pytest.raises(BrokenError, match=told):
        opened(Wanting(), tmp_path)


def test_one_that_is_installed_meanwhile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BrokenError):
        opened(Wanting(), tmp_path)
    (tmp_path / "no_such_sdk.py").write_text("")
    assert opened(Wanting(), tmp_path).unsettled
