from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclogd.entries import Commit
from asynclogd.export import ExportError, export
from asynclogd.journal import Journal
from asynclogd.points import Item, Params
from asynclogd.ratelimit import RateLimiter
from tests.daemon.filebackend import FileBackend, lines
from tests.daemon.tables import table

ITEMS: list[Item] = [table(0), Params({"lr": 0.5}), table(1, names=("other",))]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "p" / "run").mkdir(parents=True)
    with Journal.open(tmp_path / "p" / "run" / "journal.sqlite") as journal:
        journal.commit(Commit(items=ITEMS))
        yield journal


def test_all_items_are_in_the_place_and_counted(journal: Journal, tmp_path: Path) -> None:
    told: list[int] = []
    out = tmp_path / "made" / "out"
    written = export(journal, tmp_path / "p" / "run", FileBackend(), RateLimiter({}), out, told.append)
    assert (out / "lines").read_text() == "".join(map(lines, ITEMS))
    assert (written.points, told[-1]) == (3, 3)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("fault", ["open", "write", "flush"])
def test_one_that_fails_leaves_what_was_there(journal: Journal, tmp_path: Path, fault: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "before").touch()
    backend = FileBackend(lambda call: "error" if call == fault else "")
    with pytest.raises(OSError, match="error"):
        export(journal, tmp_path / "p" / "run", backend, RateLimiter({}), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]
    assert [path.name for path in out.iterdir()] == ["before"]


def test_what_is_there_is_replaced_as_a_whole(journal: Journal, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "before").touch()
    export(journal, tmp_path / "p" / "run", FileBackend(), RateLimiter({}), out)
    assert [path.name for path in out.iterdir()] == ["lines"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]


def test_a_backend_that_refuses_says_why(journal: Journal, tmp_path: Path) -> None:
    backend = FileBackend(lambda call: "permanent" if call == "open" else "")
    with pytest.raises(ExportError, match="open is refused"):
        export(journal, tmp_path / "p" / "run", backend, RateLimiter({}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
