"""The files beside a `.wandb` file: media objects, and files of the run, below `files` as W&B's SDK has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from asynclogd.backends._files import replace
from asynclogd.backends._sources import source_of
from asynclogd.backends._wandbartifact import is_model, record
from asynclogd.backends._wandbmedia import file_path, shown
from asynclogd.backends._wandbrecords import RunRecords
from asynclogd.backends.base import Blob, Media, PermanentError

FILES = "files"
_ARTIFACTS = "artifacts"


class Files:
    """Shows media items in a run's records. `run` are run_id, project and entity."""

    def __init__(
        self, run: Mapping[str, str], read_blob: Callable[[Blob], bytes] | None, *, log_model: bool, fsync: bool
    ) -> None:
        self._run, self._read_blob, self._log_model, self._fsync = run, read_blob, log_model, fsync

    def show(self, records: RunRecords, item: Media) -> None:
        """Write an item's file, and the row that names it. Raises PermanentError, OSError."""
        if (source := source_of(item)) is not None:
            self._show_in_place(records, item, source)
            return
        if self._read_blob is None:
            raise PermanentError("there is no media store to read from")
        found = shown(item, self._read_blob(item.blob), records.counts.rows)
        if found.path:
            target = self._place(records, item, found.path)
            replace(target, [found.content], fsync=self._fsync)
            self._tell(records, item, found.path, target)
        if found.value:
            records.shown(item.name, item.step, item.time, found.value)

    def _show_in_place(self, records: RunRecords, item: Media, source: Path) -> None:
        """One whose bytes did not travel: a link to where the rank said, as `wandb.save` makes it."""
        if not source.is_file():
            raise PermanentError(f"{source} is a directory: W&B is given single files")
        path = file_path(item)
        if not self._is_artifact(item):
            link = self._place(records, item, path)
            link.unlink(missing_ok=True)
            link.symlink_to(source)
        self._tell(records, item, path, source)

    def _tell(self, records: RunRecords, item: Media, path: str, file: Path) -> None:
        if self._is_artifact(item):
            records.artifact(record(item, file, self._run))
        else:
            records.files([path])

    def _is_artifact(self, item: Media) -> bool:
        return self._log_model and is_model(item)

    def _place(self, records: RunRecords, item: Media, path: str) -> Path:
        directory = records.log.path.parent
        # An artifact is named by an absolute path, which has to outlive a rewind.
        target = (directory.parent / _ARTIFACTS if self._is_artifact(item) else directory / FILES) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
