from __future__ import annotations

import os
from pathlib import Path

import pytest

from asynclog_proto.errors import ConfigError
from asynclogd.catalog import default_dir, find_runs, locate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("digits/run-1", "digits/run-10", "digits/other", "words/run-1", "words/deep/version_0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "journal.sqlite").touch()
    return tmp_path


def test_runs_are_those_with_a_journal_or_a_spool(root: Path) -> None:
    spool = root / "digits" / "offline" / "spool" / "0-abc"
    spool.mkdir(parents=True)
    (spool / "1.spool").touch()
    (root / "digits" / "empty").mkdir()
    found = [str(run.relative_to(root)) for run in find_runs(root)]
    assert found == ["digits/offline", "digits/other", "digits/run-1", "digits/run-10", "words/deep/version_0",
                     "words/run-1"]  # fmt: skip
    assert find_runs(root / "digits" / "other") == [root / "digits" / "other"]


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("digits/run-1", "digits/run-1"),
        ("words/run-1", "words/run-1"),
        ("other", "digits/other"),
        ("oth", "digits/other"),
        ("digits/o", "digits/other"),
        ("run-10", "digits/run-10"),
        ("version_0", "words/deep/version_0"),
        ("deep/version", "words/deep/version_0"),
    ],
)
def test_a_run_is_meant_by_name_or_the_beginning_of_it(root: Path, text: str, run: str) -> None:
    assert locate(text, root) == root / run


def test_a_runs_directory_means_it_wherever_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(str(root / "digits" / "run-1"), root / "nowhere") == root / "digits" / "run-1"
    monkeypatch.chdir(root / "digits")
    assert locate("run-1", Path("nowhere")) == root / "digits" / "run-1"
    assert locate(".", Path("run-10")) == root / "digits" / "run-10"


def test_what_may_be_several_is_told_with_them(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"'run-1' may be any of digits/run-1, words/run-1"):
        locate("run-1", root)
    with pytest.raises(ConfigError, match=r"'digits/' may be any of digits/other, digits/run-1, digits/run-10"):
        locate("digits/", root)


def test_what_there_is_not_is_told_with_what_is_near(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run 'digits/run-2' below .*; did you mean .*digits/run-1"):
        locate("digits/run-2", root)
    with pytest.raises(ConfigError, match=r"no run 'zzz' below .*; there are digits/other, "):
        locate("zzz", root)
    with pytest.raises(ConfigError, match="there is no directory"):
        locate("run", tmp_path / "missing")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match="there are no runs below"):
        locate("run", tmp_path / "bare")
    with pytest.raises(ConfigError, match="there is no run ''"):
        locate("", root)


def test_runs_are_looked_for_where_init_puts_them() -> None:
    assert default_dir({}) == Path("asynclog")
    assert default_dir({"ASYNCLOG_DIR": f"{os.sep}data"}) == Path("/data")
