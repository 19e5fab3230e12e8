"""Which backends a run has, over its real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from asynclog_proto.errors import ConfigError
from asynclog_proto.frames import Hello
from asynclogd import registry, wanted
from asynclogd.backends.base import Backend, BackendConfig, Position, RunInfo
from asynclogd.config import DaemonSettings
from asynclogd.media.workers import Workers
from asynclogd.pipeline import Pipeline
from tests.daemon.filebackend import FileBackend

HERE = {"class": "tests.daemon.test_wanted:Told"}


class Told(FileBackend):
    """Says in a file of which world it was opened."""

    def __init__(self, config: BackendConfig | None = None) -> None:
        super().__init__()
        del config

    def open(self, run: RunInfo, position: Position | None) -> None:
        (run.own_dir / "world").write_text(f"{run.world}")
        super().open(run, position)


def play(run_dir: Path, act: Callable[[Pipeline], None]) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)

    async def main() -> None:
        pipeline = Pipeline(run_dir, DaemonSettings(), lambda *_: None, Workers())
        await pipeline.open()
        act(pipeline)
        await pipeline.close(30)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_backend_that_was_never_opened_before_the_daemons_restart_is_opened_for_the_runs_world(
    tmp_path: Path,
) -> None:
    def killed_at_once(pipeline: Pipeline) -> None:
        pipeline.set_fact(wanted.FACT, {"told": HERE})
        for rank in range(3):
            pipeline.hello(Hello("p", "run", "/tmp", rank, 3, f"r{rank}", "launch", 0, 1, "host"), None)

    play(tmp_path / "p" / "run", killed_at_once)
    play(tmp_path / "p" / "run", wanted.resume)
    assert (tmp_path / "p" / "run" / "told" / "world").read_text() == "3"


def test_a_shape_that_is_wrong_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    def act(pipeline: Pipeline) -> None:
        wanted.add(pipeline, {"csv": {"rate_limit": {"loss": 5}}}, 1)
        with pytest.raises(ConfigError, match="option 'rate_limit'"):
            wanted.reshape(pipeline, {"csv": {"rate_limit": {"loss": -1}}})
        assert wanted.of(pipeline) == {"csv": {"rate_limit": {"loss": 5}}}

    play(tmp_path / "p" / "run", act)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (None, ""),
        ({"subdir": "csv"}, ""),
        ({"whole": [], "fsync": False}, ""),
        ({"rate_limit": 5}, "csv.rate_limit has no effect"),
        ({"whole": ["epoch"], "hparams": False}, "csv.whole, csv.hparams have no effect"),
    ],
)
def test_what_is_said_in_vain_of_a_backend_that_the_run_has_is_named(
    tmp_path: Path, options: wanted.Options | None, told: str
) -> None:
    def act(pipeline: Pipeline) -> None:
        wanted.add(pipeline, {"csv": {}}, 1)
        notice = wanted.ignored(pipeline, {"csv": options})
        assert told in notice if told else notice == ""

    play(tmp_path / "p" / "run", act)


def test_no_package_is_searched_for_options_that_the_run_was_given_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rank's hello says them, and a look at all entry points takes the event loop some 10 ms."""
    looked: list[str] = []
    find = registry.Registry.find

    def looking(here: registry.Registry, name: str, where: object = None) -> type[Backend]:
        looked.append(name)
        return find(here, name, where)

    def act(pipeline: Pipeline) -> None:
        wanted.add(pipeline, {"told": HERE}, 1)
        monkeypatch.setattr(registry.Registry, "find", looking)
        assert wanted.ignored(pipeline, {"told": HERE}) == ""
        assert looked == []

    play(tmp_path / "p" / "run", act)
