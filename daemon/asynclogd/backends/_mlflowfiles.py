"""Media as MLflow's artifacts: which path, and which bytes there.

A path follows from name and step, so that an item that is sent again after a crash replaces itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from asynclogd.backends._artifacts import artifact_path, content, is_table
from asynclogd.backends._sources import files_in, source_of
from asynclogd.backends.base import Blob, Media, PermanentError

TABLES_TAG = "mlflow.loggedArtifacts"
"""Where MLflow's UI and `load_table` look for tables: JSON."""

LONGEST_TAG = 8000


class Files:
    """The artifacts of one run."""

    def __init__(self, client: Any, run: Any, read_blob: Callable[[Blob], bytes] | None) -> None:
        """`client` and `run` are MLflow's."""
        self._client, self._run_id, self._read_blob = client, str(run.info.run_id), read_blob
        self._tables: list[dict[str, str]] = json.loads(run.data.tags.get(TABLES_TAG, "[]"))

    def log(self, item: Media) -> None:
        """Send an item. Raises PermanentError, and what MLflow raises."""
        path = PurePosixPath(artifact_path(item))
        if (source := source_of(item)) is not None:
            self._log_file(source, path)
            return
        if self._read_blob is None:
            raise PermanentError("there is no media store to read from")
        data = content(item, self._read_blob(item.blob))
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, path.name)
            file.write_bytes(data)
            self._client.log_artifact(self._run_id, str(file), str(path.parent))
        if is_table(item):
            self._show_table(str(path))

    def _log_file(self, source: Path, path: PurePosixPath) -> None:
        """One that was too large to travel: it is where the rank said, as long as nobody removes it."""
        if source.is_dir():
            for inside, file in files_in(source):
                self._client.log_artifact(self._run_id, str(file), str((path / inside).parent))
        else:
            self._client.log_artifact(self._run_id, str(source), str(path.parent))

    def _show_table(self, path: str) -> None:
        table = {"path": path, "type": "table"}
        text = json.dumps([*self._tables, table])
        if table not in self._tables and len(text) <= LONGEST_TAG:  # beyond it a table is a file as others are
            self._client.set_tag(self._run_id, TABLES_TAG, text)
            self._tables.append(table)
