"""What is in a `.wandb` file, as W&B's own reader (`wandb leet inspect --json`) tells it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from asynclogd.backends._wandbnames import STEP, meant
from asynclogd.samples import Content

Told = dict[str, Any]


def file_of(own_dir: Path) -> Path:
    """The run's only file: what is beside it is of a position that is past."""
    (found,) = own_dir.glob("*run-*/*.wandb")
    return found


def told(file: Path) -> list[tuple[str, Told]]:
    """(type, content) of each record."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "--run-file", str(file)]
    found = subprocess.run([*command, str(file.parent.parent)], capture_output=True, text=True, check=True)
    assert not found.stderr, found.stderr
    # Whole numbers that were floats, -0 among them, are told without a point.
    records = [json.loads(line, parse_int=_number) for line in found.stdout.splitlines()]
    return [(each["type"], each.get(each["type"], {})) for each in records]


def rows(file: Path) -> list[Told]:
    """The history, row by row."""
    return [content["item"] for kind, content in told(file) if kind == "history"]


def points(file: Path) -> Content:
    """(name, step, value) of what is a number."""
    return [
        (meant(key), int(row[STEP]), float(value))
        for row in rows(file)
        for key, value in row.items()
        if not key.startswith("_") and key != STEP and _is_number(value)
    ]


def _number(text: str) -> float | int:
    return -0.0 if text == "-0" else int(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or value in ("NaN", "Infinity", "-Infinity")
