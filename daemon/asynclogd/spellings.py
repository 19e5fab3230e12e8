"""Names that a backend can't take as they are, told once each in the daemon's log."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from asynclogd.backends.base import Backend
from asynclogd.incidents import about
from asynclogd.points import Item, Media, Params, Points, Summary

log = logging.getLogger(__name__)

MOST = 20
"""Names that are told, of one backend of a run."""

_KEPT = 1024


class Spellings:
    """Sees what the backend `name` of `run` (project/name) is offered. For one thread."""

    def __init__(self, name: str, backend: Backend, run: str = "") -> None:
        self._name, self._backend = name, backend
        self._about = about("name-spelt", run=run, backend=name)
        self._told: set[str] = set()
        self._seen: dict[int, tuple[str, ...]] = {}  # tables of one layout share the tuple of their names
        self._ended = type(backend).spelt is Backend.spelt

    def see(self, items: Iterable[Item]) -> None:
        """Tell of names in these that were not met before."""
        for item in () if self._ended else items:
            if isinstance(item, Points):
                if self._seen.get(id(item.names)) is not item.names:
                    self._keep(item.names)
                    self._tell(item.names)
            elif isinstance(item, Media):
                self._tell([item.name])
            elif isinstance(item, (Params, Summary)):
                self._tell(item.values)

    def _keep(self, names: tuple[str, ...]) -> None:
        if len(self._seen) >= _KEPT:
            self._seen.clear()
        self._seen[id(names)] = names

    def _tell(self, names: Iterable[str]) -> None:
        for name in names:
            if self._ended or name in self._told or (spelt := self._backend.spelt(name)) == name:
                continue
            self._told.add(name)
            text = "%s can't take the name %.100r as it is: there it is %.100r"
            log.info(text, self._name, name, spelt, extra=self._about)
            if len(self._told) == MOST:
                text = "%s: no more of the names that it spells in another way are told"
                log.info(text, self._name, extra=self._about)
                self._ended = True
