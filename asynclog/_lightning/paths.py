"""Where a logger's files are, by the rules of Lightning's TensorBoardLogger and CSVLogger."""

from __future__ import annotations

import os


def expanded(path: str) -> str:
    """`path` with `~` and `$VARIABLES` replaced."""
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 - str in, str out, as Lightning does


def version_dir(version: int | str) -> str:
    """The directory of a version: its name, or `version_<number>`."""
    return version if isinstance(version, str) else f"version_{version}"


def next_version(root_dir: str) -> int:
    """One more than the highest directory `version_<number>` in `root_dir`, 0 without any."""
    try:
        with os.scandir(expanded(root_dir)) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return 0
    numbers = [name.split("_")[1] for name in names if name.startswith("version_")]
    return max((int(number) for number in numbers if number.isdigit()), default=-1) + 1


def check_local(save_dir: str) -> None:
    """Raise ValueError for an address: the daemon writes to file systems only."""
    if "://" in save_dir:
        text = f"save_dir {save_dir!r} is remote: AsyncLogger writes to local and mounted directories"
        raise ValueError(f"{text}. Give one, and copy it, or ask for a remote backend (backends=['mlflow'])")
