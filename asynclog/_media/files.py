"""Files that belong to a run: artifacts and checkpoints."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any, ClassVar

from asynclog._media.form import Form, Media, bytes_part
from asynclog.values import BadValueError
from asynclog_proto.limits import MAX_MEDIA_BYTES
from asynclog_proto.media import Option

TYPES = ("file", "checkpoint", "html")


class File(Media):
    """A file, told by its path: the daemon reads it later, from where it is. A daemon on another machine does not, and
    there it is logged with `copy`.

    Args:
        path: Of a regular file that exists.
        artifact: Its name in the run, the file's own by default.
        type: "file", "checkpoint" or "html".
        copy: Take its content now, of at most 512 MiB, for a file that will be changed or deleted.
    """

    KIND: ClassVar[str] = "file"

    def __init__(self, path: Any, *, artifact: str | None = None, type: str = "file", copy: bool = False) -> None:  # noqa: A002 - the word that artifacts go by
        self.path = path
        self.artifact = artifact
        self.type = type
        self.copy = copy

    def form(self) -> Form:
        """As Media.form."""
        if self.type not in TYPES:
            raise BadValueError(f"has type={self.type!r}: accepted are {', '.join(TYPES)}", ValueError)
        path = _absolute(self.path)
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            raise BadValueError(f"is the path {str(path)!r}, which {what}", ValueError)
        try:
            size = path.stat().st_size
            content = _content(path, size) if self.copy else None
        except OSError as error:
            raise BadValueError(f"is the file {str(path)!r}: {error.strerror}", ValueError) from error
        artifact = path.name if self.artifact is None else str(self.artifact)
        options: dict[str, Option] = {"path": str(path), "artifact": artifact, "type": self.type, "size": size}
        return Form(self.KIND, () if content is None else (bytes_part("file", content),), options)


def _absolute(given: Any) -> Path:
    try:
        path = Path(os.fsdecode(given)).absolute()
        str(path).encode()
    except TypeError:
        raise BadValueError(f"is a file of type {type(given).__name__}: a path is accepted") from None
    except UnicodeEncodeError:
        raise BadValueError(f"is the path {given!a}: one in UTF-8 is accepted", ValueError) from None
    return path


def _content(path: Path, size: int) -> bytes | memoryview:
    if size > MAX_MEDIA_BYTES:
        text = f"is a file of {size >> 20} MiB: at most {MAX_MEDIA_BYTES >> 20} MiB are copied; log it without copy"
        raise BadValueError(text, ValueError)
    if size == 0:
        return b""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
