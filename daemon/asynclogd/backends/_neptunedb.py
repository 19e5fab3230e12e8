"""One run of Neptune in a folder, as neptune-scale keeps one in offline mode: a database of operations, which
`neptune sync` sends, and the files that it uploads.

    run_operations.sqlite3   operations in their order, uploads
    files/                   what is uploaded
    steps.jsonl              how far each series has come (_neptunesteps.py)

neptune_scale.Run starts a new database each time it is made, and commits each call by itself; its OperationsRepository,
which is used here, goes on in one that is there and takes many operations in a transaction. Operations are numbered and
a number is never used again, so that the last one is the durable position: those after it are removed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from asynclogd.backends._neptunemedia import File
from asynclogd.backends._neptunesteps import Steps

DATABASE = "run_operations.sqlite3"
MOST_PENDING = 4 << 20
"""Bytes of operations that are held before they are written."""

_TABLES = {"run_operations": "sequence_id", "file_upload_requests": "id"}


class RunDb:
    """The run `run_id` of `project`. `fork` is (its parent's id, the last step that is the parent's), or None."""

    def __init__(
        self,
        folder: Path,
        project: str,
        run_id: str,
        experiment: str,
        fork: tuple[str, int] | None,
        position: Sequence[int] | None,
    ) -> None:
        """Remove what is after `position`, or begin anew. Raises OSError, sqlite3.Error, StartOverError."""
        from neptune_scale.sync.operations_repository import OperationsRepository

        self.run_id, self.project, self.folder = run_id, project, folder
        if position is None:
            shutil.rmtree(folder, ignore_errors=True)
        (folder / "files").mkdir(parents=True, exist_ok=True)
        operations, files, mark, length = position or (0, 0, 0, 0)
        self.steps = Steps(folder / "steps.jsonl", length)
        self._path = folder / DATABASE
        self._mark = mark
        self._last = operations
        self._last_file = files
        there = self._path.is_file() and _cut(self._path, mark, operations, files)
        if not there:  # of another life, or synchronized: then the SDK has removed it
            for path in folder.glob(f"{DATABASE}*"):
                path.unlink()
        self.repository = OperationsRepository(self._path)
        if not there:
            self._begin(experiment, fork)
        self._identity = self._path.stat().st_ino
        self._pending: list[Any] = []
        self._pending_bytes = 0
        self._files: list[Any] = []

    def save(self, update: Any) -> None:
        """Take an UpdateRunSnapshot; it is in the database with the next flush, or before."""
        self._pending.append(update)
        self._pending_bytes += update.ByteSize()
        if self._pending_bytes >= MOST_PENDING:
            self._write_out()

    def lay_down(self, series: str, step: int, identity: str, file: File) -> Any:
        """Keep a file for the upload, and its FileUploadRequest with the next flush. Raises OSError."""
        from neptune_scale.sync.files import generate_destination
        from neptune_scale.sync.operations_repository import FileUploadRequest

        path = self.folder / "files" / f"{identity}{Path(file.name).suffix[:18]}"
        if isinstance(file.content, Path):
            shutil.copyfile(file.content, path)
        else:
            path.write_bytes(file.content)
        destination = generate_destination(self.run_id, series, file.name, step)
        size = path.stat().st_size
        request = FileUploadRequest(str(path.absolute()), destination, file.mime, size, is_temporary=True)
        self._files.append(request)
        return request

    def flush(self) -> list[int]:
        """Everything taken is in the database. Raises OSError, also when somebody removed it."""
        self._write_out()
        if self._files:
            self._last_file = self.repository.save_file_upload_requests(self._files)
            self._files = []
        length = self.steps.flush()
        if not self._path.exists() or self._path.stat().st_ino != self._identity:
            raise FileNotFoundError(f"{self._path} was removed while it was written (by neptune sync?)")
        return [self._last, self._last_file, self._mark, length]

    def close(self) -> None:
        """Let go of the files; what was not flushed is lost."""
        self._pending, self._files = [], []
        self.repository.close(cleanup_files=False)
        self.steps.close()

    def _write_out(self) -> None:
        if self._pending:
            self._last = self.repository.save_update_run_snapshots(self._pending)
            self._pending, self._pending_bytes = [], 0

    def _begin(self, experiment: str, fork: tuple[str, int] | None) -> None:
        from neptune_api.proto.neptune_pb.ingest.v1.common_pb2 import ForkPoint, Run, Step

        self._mark = secrets.randbelow(2**31 - 1) + 1
        self.repository.init_db()
        with closing(sqlite3.connect(self._path)) as database:
            database.execute(f"PRAGMA user_version = {self._mark}")
        self.repository.save_metadata(self.project, self.run_id)
        point = fork and ForkPoint(parent_project=self.project, parent_run_id=fork[0], step=Step(whole=fork[1]))
        run = Run(family=self.run_id, experiment_id=experiment, fork_point=point, inherit_configs=True)
        run.creation_time.GetCurrentTime()
        self._last, self._last_file = self.repository.save_create_run(run), 0


def _cut(database: Path, mark: int, operations: int, files: int) -> bool:
    """Remove what is after a position. False: the database is not the one that the position is of."""
    if not os.access(database, os.W_OK):
        raise PermissionError(f"{database} can't be written")
    with closing(sqlite3.connect(database)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found != mark:
            return False
        with connection:
            for (table, column), last in zip(_TABLES.items(), (operations, files), strict=True):
                connection.execute(f"DELETE FROM {table} WHERE {column} > ?", (last,))  # noqa: S608 - names of ours
    return True
