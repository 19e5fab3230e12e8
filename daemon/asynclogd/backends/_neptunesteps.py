"""How far each series has come. Neptune takes steps of a series that rise, and nothing else: a point that is late goes
to the first of the piles beside it that has not come so far.

    pile 0  the series itself      1, 2, 4, 5
    pile 1  late/1/<series>        3, 4            3 was late, 4 was revised
    pile 2  late/2/<series>        4               and again

Every point is kept at its own step. The piles' last steps never rise from one to the next, so that of two values of a
step the one in the higher pile is the later.

On disk: lines of JSON that are appended by each flush, ["n", [names]] and ["s", pile, step, time, [first, count, ...]]
where names are numbered as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from asynclogd.backends._files import AppendFile
from asynclogd.backends.base import StartOverError


class Steps:
    """The last step and time of each pile of each series of one run."""

    def __init__(self, path: Path, length: int) -> None:
        """Read the first `length` bytes of a file. Raises StartOverError when it has less."""
        self._numbers: dict[str, int] = {}
        self._tops: list[list[tuple[int, float]]] = []
        self._told = 0
        self._moved: dict[tuple[int, int], None] = {}
        data = path.read_bytes()[:length] if length and path.is_file() else b""
        if len(data) < length:
            raise StartOverError(f"{path} has {len(data)} bytes of {length}")
        for line in data.splitlines():
            self._replay(msgspec.json.decode(line))
        self._file = AppendFile(path, length, fsync=False)

    def place(self, name: str, step: int, time: float) -> tuple[int, float]:
        """The pile for a point of the series `name`, and its time: Neptune wants no earlier one than the last."""
        number = self._numbers.setdefault(name, len(self._numbers))
        if number == len(self._tops):
            self._tops.append([])
        tops = self._tops[number]
        pile = next((pile for pile, (last, _) in enumerate(tops) if last < step), len(tops))
        if pile == len(tops):
            tops.append((step, time))
        else:
            time = max(time, tops[pile][1])
            tops[pile] = step, time
        self._moved[number, pile] = None
        return pile, time

    def flush(self) -> int:
        """Append what moved; the file's length. Raises OSError and keeps it: flush again."""
        lines: list[list[Any]] = []
        if self._told < len(self._numbers):
            lines.append(["n", list(self._numbers)[self._told :]])
        groups: dict[tuple[int, int, float], list[int]] = {}
        for number, pile in sorted(self._moved):
            groups.setdefault((pile, *self._tops[number][pile]), []).append(number)
        # Lower piles first: read back, a series' pile follows the one below it.
        lines.extend(["s", *top, [*_ranges(numbers)]] for top, numbers in sorted(groups.items()))
        if lines:
            self._file.append(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            self._told, self._moved = len(self._numbers), {}
        return self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _replay(self, line: list[Any]) -> None:
        if line[0] == "n":
            for name in line[1]:
                self._numbers[name] = len(self._numbers)
                self._tops.append([])
            self._told = len(self._numbers)
            return
        _, pile, step, time, ranges = line
        for first, count in zip(ranges[::2], ranges[1::2], strict=True):
            for tops in self._tops[first : first + count]:
                tops[pile : pile + 1] = [(step, time)]


def _ranges(numbers: Iterable[int]) -> Iterator[int]:
    """Rising numbers as first, count, first, count, ..."""
    first = count = 0
    for number in numbers:
        if count and number == first + count:
            count += 1
            continue
        if count:
            yield from (first, count)
        first, count = number, 1
    if count:
        yield from (first, count)
