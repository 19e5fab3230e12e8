from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclog_proto import __version__
from asynclogd.entries import Commit
from asynclogd.export import export
from asynclogd.exportplace import MARKER, ExportError
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


def earlier(out: Path) -> None:
    out.mkdir()
    (out / MARKER).touch()
    (out / "before").touch()


def test_all_items_are_in_the_place_and_counted(journal: Journal, tmp_path: Path) -> None:
    told: list[int] = []
    out = tmp_path / "made" / "out"
    written = export(journal, tmp_path / "p" / "run", "lines", FileBackend(), RateLimiter({}), out, told.append)
    assert (out / "lines").read_text() == "".join(map(lines, ITEMS))
    assert (written.points, told[-1]) == (3, 3)
    assert json.loads((out / MARKER).read_text()) == {"run": "p/run", "format": "lines", "asynclog": __version__}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("fault", ["open", "write", "flush"])
def test_one_that_fails_leaves_what_was_there(journal: Journal, tmp_path: Path, fault: str) -> None:
    out = tmp_path / "out"
    earlier(out)
    backend = FileBackend(lambda call: "error" if call == fault else "")
    with pytest.raises(OSError, match="error"):
        export(journal, tmp_path / "p" / "run", "lines", backend, RateLimiter({}), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "before"]


def test_what_is_there_is_replaced_as_a_whole(journal: Journal, tmp_path: Path) -> None:
    out = tmp_path / "out"
    earlier(out)
    export(journal, tmp_path / "p" / "run", "lines", FileBackend(), RateLimiter({}), out)
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "lines"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]


def test_a_backend_that_refuses_says_why(journal: Journal, tmp_path: Path) -> None:
    backend = FileBackend(lambda call: "permanent" if call == "open" else "")
    with pytest.raises(ExportError, match="open is refused"):
        export(journal, tmp_path / "p" / "run", "lines", backend, RateLimiter({}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_somebody_put_there_meanwhile_stays(journal: Journal, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def put(_: int) -> None:
        out.mkdir()
        (out / "mine").touch()

    with pytest.raises(ExportError, match="no earlier export"):
        export(journal, tmp_path / "p" / "run", "lines", FileBackend(), RateLimiter({}), out, put)
    assert [path.name for path in out.iterdir()] == ["mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]


def test_what_was_there_is_not_lost_when_one_is_killed_as_it_moves_to_its_place(
    journal: Journal, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    earlier(tmp_path / ".out.former-123")
    backend = FileBackend(lambda call: "error" if call == "write" else "")
    with pytest.raises(OSError, match="error"):
        export(journal, tmp_path / "p" / "run", "lines", backend, RateLimiter({}), out)
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "before"]
    earlier(tmp_path / ".out.former-124")
    export(journal, tmp_path / "p" / "run", "lines", FileBackend(), RateLimiter({}), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "p"]


EXPORTER = """
import sys
from pathlib import Path
from asynclogd.exportplace import in_place

with in_place(Path(sys.argv[1]), Path(sys.argv[2]), {}) as part:
    (part / "half").touch()
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_what_one_that_was_killed_left_is_removed_and_one_under_way_is_not(journal: Journal, tmp_path: Path) -> None:
    out, run_dir = tmp_path / "[out]", tmp_path / "p" / "run"
    command = [sys.executable, "-c", EXPORTER, str(out), str(run_dir)]
    killed, slow = (subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2))
    with killed, slow:
        assert killed.stdout
        assert slow.stdout
        assert killed.stdout.readline() == slow.stdout.readline() == b"writing\n"
        killed.kill()
        killed.wait()
        export(journal, run_dir, "lines", FileBackend(), RateLimiter({}), out)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f".[out].part-{slow.pid}", "[out]", "p"]
        slow.communicate()
    assert slow.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["[out]", "p"]
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "half"]
