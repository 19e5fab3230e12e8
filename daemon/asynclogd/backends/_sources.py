"""Files whose bytes did not travel: where they lie, looked at before anything is opened.

What can't be read is refused for good: else it would be tried again without end, and what comes after it would wait.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath
from typing import NoReturn

from asynclogd.backends.base import Media, PermanentError

_BAD_PATH = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
"""What a path is to blame for; any other error may pass."""


def source_of(item: Media) -> Path | None:
    """Where an item's bytes are, as its rank said; None when they are in the run's media store, as nearly always.

    Raises PermanentError when there is neither a file nor a directory that can be read, OSError when that may pass.
    """
    path = item.options.get("path")
    if item.kind != "file" or item.blob.size or not isinstance(path, str):
        return None
    source = Path(path)
    if not source.is_absolute():
        raise PermanentError(f"{path!r} is no absolute path")
    try:
        if not source.is_file() and not source.is_dir():  # a pipe would be waited for
            what = "is neither a file nor a directory" if source.exists() else "is not there any more"
            raise PermanentError(f"{source} {what}")
    except OSError as error:
        _refuse(error)
    _check_readable(source)
    return source


def files_in(source: Path) -> list[tuple[PurePosixPath, Path]]:
    """The regular files below a directory, links to such among them: where each is in it, and where. What is neither
    file nor directory is left out (a link that leads nowhere, a pipe), and so are links to directories, which may lead
    in circles. Raises PermanentError for what can't be read, before anything is copied.
    """
    found = [Path(directory, name) for directory, _, names in os.walk(source, onerror=_refuse) for name in names]
    files = sorted(filter(_is_file, found))
    for path in files:
        _check_readable(path)
    return [(PurePosixPath(path.relative_to(source).as_posix()), path) for path in files]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    """Raises PermanentError for what does not pass by itself, else the error."""
    if error.errno in _BAD_PATH:
        raise PermanentError(f"{error.filename} can't be read: {error.strerror}") from error
    raise error


def _check_readable(path: Path) -> None:
    wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    if not os.access(path, wanted):
        raise PermanentError(f"{path} can't be read by the daemon's user")
