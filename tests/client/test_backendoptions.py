"""The options of our own backends: a misspelt one is told before anything is logged, whoever asks for the backend."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import asynclog
from asynclog import backendoptions
from asynclog.backends import check_backends
from asynclog_proto.errors import ConfigError
from asynclogd import registry
from asynclogd.cadence import Delivery
from asynclogd.fanout import choose

OURS = sorted(backendoptions.OWN)


def options_of(struct: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def test_they_are_those_of_the_daemons_backends():
    ours = {
        name: kind for name in registry.names() if (kind := registry.find(name)).__module__.startswith("asynclogd.")
    }
    assert {name: options_of(kind.Config) for name, kind in ours.items()} == {
        name: list(options) for name, options in backendoptions.OWN.items()
    }
    assert options_of(Delivery) == list(backendoptions.DELIVERY)


@pytest.mark.parametrize("name", OURS)
def test_those_of_every_backend_are_the_daemons(name: str):
    values: dict[str, Any] = {
        "delivery": {}, "names": [], "rate_limit": {}, "since": None, "subdir": ".", "system_metrics": True,
    }  # fmt: skip
    assert set(values) == set(backendoptions.COMMON)
    choose(name, values)
    with pytest.raises(ConfigError, match="unknown option 'other'"):
        choose(name, {"other": 1})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"csv": {"fsnc": True}}, "backends['csv']: there is no option 'fsnc' (did you mean 'fsync'?)"),
        (
            {"csv": {"rate_limits": {}}},
            "(did you mean 'rate_limit'?): csv has fsync, hparams, whole; every backend has ",
        ),
        ({"jsonl": {"flush_intervall": 1}}, "'flush_intervall' (did you mean 'delivery': {'flush_interval': ...}?)"),
        ({"wandb": {"delivery": {"batch": 3}}}, "backends['wandb']['delivery']: there is no option 'batch'"),
        ({"mlflow": {"tracking_url": "x"}}, "(did you mean 'tracking_uri'?)"),
        ({"csv": {3: "x"}}, "there is no option 3: csv has"),
        ({"csv": {"qqq": "x"}}, "there is no option 'qqq': csv has"),
    ],
)
def test_one_that_there_is_not_is_refused_with_the_nearest(given: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=re.escape(words)):
        check_backends(given)


def test_values_and_other_packages_backends_are_left_to_the_daemon():
    given = {"csv": {"fsync": "perhaps", "delivery": 3}, "mine": {"class": "package.module:Class", "anything": 1}}
    assert check_backends(given) == given


@pytest.mark.torch
def test_a_logger_of_lightning_says_so_when_it_is_made(tmp_path: Path):
    from asynclog.lightning import AsyncLogger

    with pytest.raises(ConfigError, match="did you mean 'fsync'"):
        AsyncLogger(tmp_path, backends={"csv": {"fsnc": True}})


def test_a_summary_writer_says_so_when_it_is_made(tmp_path: Path):
    with pytest.raises(ConfigError, match="did you mean 'fsync'"):
        asynclog.SummaryWriter(str(tmp_path / "log" / "run"), backends={"csv": {"fsnc": True}})


def test_to_know_them_the_daemon_is_not_loaded():
    script = (
        "import sys; from asynclog.backends import check_backends; check_backends({'wandb': {'tags': ['a']}});"
        "print([name for name in sys.modules if name.startswith(('asynclogd', 'msgspec'))])"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"
