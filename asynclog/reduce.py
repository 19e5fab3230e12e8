"""How metrics are to be reduced, said once per name in Define records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from asynclog.values import Problem
from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import Define, encode
from asynclog_proto.reductions import REDUCTIONS


def check_reductions(given: Any) -> tuple[str, ...]:
    """A reduction or several, the first under the plain name. Raises ValueError for anything else."""
    wanted = (given,) if isinstance(given, str) else given
    if isinstance(wanted, Iterable):
        wanted = tuple(wanted)
        if wanted and all(isinstance(one, str) and one in REDUCTIONS for one in wanted):
            return wanted
    raise ValueError(f"reduce is one or several of {', '.join(REDUCTIONS)}, not {given!r}")


def definition(
    pattern: str, reduce: tuple[str, ...], *, per_rank: bool = False, lane: str = "", own_steps: bool = False
) -> bytes:
    """A Define record. Raises ValueError when the daemon would not take it."""
    try:
        return encode(Define(pattern, reduce, per_rank, lane, own_steps))
    except ProtocolError as error:
        raise ValueError(f"pattern: {error}") from error


class Reductions:
    """What `log(reduce=...)` has defined so far, by name."""

    def __init__(self, append: Callable[[bytes], bool]) -> None:
        self._append = append
        self._known: dict[str, tuple[str, ...]] = {}

    def check(self, given: Any, problems: list[Problem]) -> tuple[str, ...]:
        """The reductions of a call; () for none, and for what is none of them."""
        if given is None:
            return ()
        try:
            return check_reductions(given)
        except ValueError as error:
            problems.append(Problem("reduce", "", f"{error}: it is left out", lost=0))
            return ()

    def define(self, names: Iterable[str], reduce: tuple[str, ...]) -> None:
        """Say how exactly these names are reduced, where that was not said before."""
        for name in names:
            if self._known.get(name) == reduce:
                continue
            try:
                written = self._append(definition(literal(name), reduce))
            except ValueError:
                written = True  # its escaped form is too long to travel: the default holds
            if written:
                self._known[name] = reduce


def literal(name: str) -> str:
    """An fnmatch pattern that matches `name` alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
