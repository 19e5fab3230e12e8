"""A Comet experiment on disk, as Comet's own uploader reads it: `experiment/`, and the archive that is made of it.

    experiment/experiment.json   key, project, times, tags
    experiment/messages.json     a JSON object a line: metrics, parameters, uploads
    experiment/<id>.png, ...     the uploads' files
    <key>.zip                    all of this, for `comet upload`: made when the run ends, and again when it is resumed

messages.json only grows, so its length is the durable position, and what was written after it is cut off. The archive
leaves out what a rewind superseded; the line that says so is one that Comet takes.
Source of the format: comet_ml/offline.py, streamer/handlers/offline_handler.py, schemas/.
"""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from asynclogd.backends._cometmedia import Asset
from asynclogd.backends._files import AppendFile, replace
from asynclogd.backends.base import Position, StartOverError

FOLDER = "experiment"
REWIND = "asynclog/rewind"
"""The key of the line that says from which step on what is before it is superseded."""

_MESSAGES = "messages.json"
_ABOUT = "experiment.json"

Line = Mapping[str, Any]


class Archive:
    """The experiment `key` in `directory`."""

    def __init__(
        self,
        directory: Path,
        key: str,
        project: str,
        workspace: str,
        tags: Sequence[str],
        position: Position | None,
    ) -> None:
        """Cut what is after `position`, or begin anew. Raises OSError, and StartOverError when there is less than the
        position says.
        """
        self.key = key
        self._directory, self._folder = directory, directory / FOLDER
        self._project, self._workspace, self._tags = project, workspace, tags
        messages = self._folder / _MESSAGES
        if position is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            position = {"bytes": 0, "figures": 0, "start": None, "stop": None, "status": ""}
        self._folder.mkdir(exist_ok=True)
        there = messages.stat().st_size if messages.exists() else 0
        if there < position["bytes"]:
            raise StartOverError(f"{messages} has {there} bytes of {position['bytes']}")
        self._figures: int = position["figures"]
        self._start: int | None = position["start"]
        self._stop: int | None = position["stop"]
        self._status: str = position["status"]
        self._file = AppendFile(messages, position["bytes"], fsync=False)
        self._ended = False
        self._tell()

    def metrics(self, rows: Iterable[tuple[int, int, Mapping[str, Any], int | None]]) -> None:
        """Append points: (step, time in ms, {name: value}, epoch or None) for each step."""
        lines = []
        for step, at, values, epoch in rows:
            self._saw(at)
            for name, value in values.items():
                metric = {"metricName": name, "metricValue": value, "step": step, "epoch": epoch}
                lines.append(_line("metric_msg", local_timestamp=at, metric=metric))
        self._append(lines)

    def params(self, values: Mapping[str, Any]) -> None:
        """Append parameters; Comet shows the last value of each."""
        at = now()
        for name, value in values.items():
            param = {"paramName": name, "paramValue": value, "step": None, "source": "manual"}
            self._append([_line("parameter_msg", local_timestamp=at, param=param)])

    def others(self, values: Mapping[str, Any]) -> None:
        """Append entries of the tab Other."""
        self._append([_line("log_other", key=key, value=value) for key, value in values.items()])

    def graph(self, text: str) -> None:
        """Append the model's graph."""
        self._append([_line("graph", graph=text)])

    def upload(self, asset: Asset, at: int) -> None:
        """Lay a file down beside the messages and append the line that names it. Raises OSError."""
        self._saw(at)
        params = dict(asset.params)
        file = self._folder / f"{asset.identity}{asset.suffix}"
        if isinstance(asset.content, Path):
            shutil.copyfile(asset.content, file)
        else:
            file.write_bytes(asset.content)
        if asset.type == "visualization":
            params["figCounter"] = self._figures
            self._figures += 1
        self._append([
            _line(
                "file_upload",
                local_timestamp=at,
                file_path=file.name,
                upload_type=asset.type,
                additional_params=params,
                metadata=dict(asset.metadata) or None,
                clean=True,
            )
        ])  # fmt: skip

    def rewind(self, step: int, generation: int) -> None:
        """Supersede what there is of `step` and later."""
        self._status = ""
        self.others({f"{REWIND}/{generation}": step})

    def end(self, status: str) -> None:
        """The run has ended: the next flush makes the archive."""
        self._status, self._ended = status, True

    def flush(self) -> Position:
        """Everything is in messages.json, and in the archive when the run has ended. Raises OSError."""
        length = self._file.flush()
        if self._ended:
            self._tell()
            pack(self._folder, self._directory / f"{self.key}.zip")
            self._ended = False
        times = {"start": self._start, "stop": self._stop}
        return {"key": self.key, "bytes": length, "figures": self._figures, "status": self._status, **times}

    def close(self) -> None:
        """Let go; what was not flushed is lost."""
        self._file.close()

    def _append(self, lines: Iterable[Line]) -> None:
        self._file.append(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def _saw(self, at: int) -> None:
        self._start = at if self._start is None else min(self._start, at)
        self._stop = at if self._stop is None else max(self._stop, at)

    def _tell(self) -> None:
        """Write experiment.json, so that the folder is whole at any time."""
        failed = self._status not in ("", "success")
        about = {
            "offline_id": self.key,
            "project_name": self._project,
            "workspace": self._workspace or None,
            "start_time": now() if self._start is None else self._start,
            "stop_time": now() if self._stop is None else self._stop,
            "tags": list(self._tags),
            "resume_strategy": "create",  # a second upload is refused: it would double every point
            "customer_error_reported": failed,
            "customer_error_message": f"the run ended: {self._status}" if failed else None,
        }
        replace(self._folder / _ABOUT, [msgspec.json.encode(about)], fsync=False)


def now() -> int:
    """The time in ms."""
    return int(time.time() * 1000)


def pack(folder: Path, archive: Path) -> None:
    """Make the archive of a folder, but for what rewinds superseded: all of it or nothing. Raises OSError."""
    messages = folder / _MESSAGES
    rewinds, gone = _rewinds(messages), {messages.name}
    draft = archive.with_suffix(".draft")
    with zipfile.ZipFile(draft, "w", allowZip64=True) as file:
        if rewinds:
            with file.open(_MESSAGES, "w", force_zip64=True) as lines:
                lines.writelines(_current(messages, rewinds, gone))
        else:
            file.write(messages, _MESSAGES)
        for path in sorted(folder.iterdir()):
            if path.name not in gone:
                file.write(path, path.name)
    draft.replace(archive)


def _line(kind: str, **payload: Any) -> Line:
    return {"type": kind, "payload": payload}


def _rewinds(messages: Path) -> list[tuple[int, int]]:
    """The rewinds in a file: (number of its line, step), in order."""
    mark = f'"{REWIND}/'.encode()
    with messages.open("rb") as file:
        marked = [(number, line) for number, line in enumerate(file) if mark in line]
    payloads = [(number, msgspec.json.decode(line)["payload"]) for number, line in marked]
    return [(number, payload["value"]) for number, payload in payloads if payload.get("key", "").startswith(REWIND)]


def _current(messages: Path, rewinds: Sequence[tuple[int, int]], gone: set[str]) -> Iterator[bytes]:
    """The lines but those of steps that a rewind further down supersedes; the files of these are added to `gone`."""
    ahead = list(rewinds)
    with messages.open("rb") as file:
        for number, line in enumerate(file):
            while ahead and ahead[0][0] <= number:
                del ahead[0]
            payload = msgspec.json.decode(line)["payload"] if ahead else {}
            step = (payload.get("metric") or payload.get("additional_params") or {}).get("step")
            if step is None or step < min(step for _, step in ahead):
                yield line
            elif "file_path" in payload:
                gone.add(payload["file_path"])
