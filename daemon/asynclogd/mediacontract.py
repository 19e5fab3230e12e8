"""What every backend that takes media must do, as tests; they are part of the contract in testing.py."""

# ruff: noqa: D102 - the names of tests are their documentation

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from asynclogd.backends.base import Item, Media, RunInfo
from asynclogd.contractbase import ContractBase
from asynclogd.media import forms
from asynclogd.media.store import MediaStore
from asynclogd.points import EARLIEST, LATEST
from asynclogd.samples import AWKWARD_NAMES, table


class MediaContract(ContractBase):
    """Nothing is asked of a backend that does not declare the kind."""

    def test_media_beside_points_whatever_is_killed(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        if "media" not in backend.kinds:
            return
        batches: list[list[Item]] = [
            [table(["a"], [step]), self._text(run, "note", step, f"# step {step}"), self._text(run, "b/c", step, "ü")]
            for step in range(6)
        ]
        position = self._killed(run, None, batches[:2], batches[2:4])
        self._killed(run, position, batches[2:4], batches[4:])
        position = self._killed(run, position, batches[2:3], [])
        self._killed(run, position, batches[3:], [])
        self._check(run, [item for batch in batches for item in batch])
        found = self.read_media(run)
        if found is not None:
            wanted = [(name, step, text) for step in range(6) for name, text in self._texts(step)]
            assert sorted(found) == sorted(wanted) if self.exact else set(found) == set(wanted)

    def test_media_of_awkward_names(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        if "media" not in backend.kinds:
            return
        names = [*AWKWARD_NAMES, "n" * 1000, "損" * 300]
        items: list[Item] = [self._text(run, name, 7, f"text of {name}") for name in names]
        self._killed(run, None, [[table(["a"], [7]), *items]], [])
        self._check(run, [table(["a"], [7])])
        found = self.read_media(run)
        if found is not None:
            assert sorted(data for _, _, data in found) == sorted(f"text of {name}".encode() for name in names)

    def test_media_of_times_far_off(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        if "media" not in backend.kinds:
            return
        times = [LATEST, EARLIEST, 1.7e9]
        items = [replace(self._text(run, "note", step, f"{at}"), time=at) for step, at in enumerate(times)]
        self._killed(run, None, [[table(["a"], [7]), *items]], [])
        self._check(run, [table(["a"], [7])])
        found = self.read_media(run)
        if found is not None:
            assert sorted(found) == [("note", step, f"{at}".encode()) for step, at in enumerate(times)]

    def _texts(self, step: int) -> list[tuple[str, bytes]]:
        return [("note", f"# step {step}".encode()), ("b/c", "ü".encode())]

    def _text(self, run: RunInfo, name: str, step: int, text: str) -> Media:
        """A text in the run's media store, as the daemon has it there."""
        store = MediaStore(run.dir / "media")
        blob = store.append(text.encode())
        store.close()
        return Media(name, step, 1.7e9 + step, "text", forms.MARKDOWN, {}, blob)
