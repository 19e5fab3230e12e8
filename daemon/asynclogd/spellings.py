"""Names that a backend can't take as they are, told once each in the daemon's log."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from asynclogd.backends.base import Backend
from asynclogd.incidents import about
from asynclogd.points import Item, Media, Params, Points, Summary
from asynclogd.seen import Seen

log = logging.getLogger(__name__)

MOST = 20
"""Names that are told, of one backend of a run."""

_LAYOUTS, _NAMES = 16, 100_000
"""Tuples of names, and names, that are known to have been met."""


class Spellings:
    """Sees what the backend `name` of `run` (project/name) is offered. For one thread."""

    def __init__(self, name: str, backend: Backend, run: str = "") -> None:
        self._name, self._backend = name, backend
        self._about = about("name-spelt", run=run, backend=name)
        self._told = 0
        self._layouts: Seen[bool] = Seen(_LAYOUTS)  # most tables of a layout share the tuple of their names
        self._met: set[str] = set()
        self._ended = type(backend).spelt is Backend.spelt

    def see(self, items: Iterable[Item]) -> None:
        """Tell of names in these that were not met before."""
        for item in () if self._ended else items:
            if isinstance(item, Points):
                if not self._layouts.get(item.names):
                    self._layouts.put(item.names, value=True)
                    self._tell(item.names)
            elif isinstance(item, Media):
                self._tell([item.name])
            elif isinstance(item, (Params, Summary)):
                self._tell(item.values)

    def _tell(self, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self._met]
        if len(self._met) > _NAMES:
            self._met.clear()
        self._met.update(new)
        for name in new:
            spelt = self._spelt(name)
            if self._ended or spelt == name:
                continue
            self._told += 1
            text = "%s can't take the name %.100r as it is: there it is %.100r"
            log.info(text, self._name, name, spelt, extra=self._about)
            if self._told == MOST:
                text = "%s: no more of the names that it spells in another way are told"
                log.info(text, self._name, extra=self._about)
                self._ended = True

    def _spelt(self, name: str) -> str:
        try:
            return self._backend.spelt(name)
        except Exception:  # of somebody's own backend; what it can't write it says when it is to write it
            self._ended = True
            return name
