"""Names that a backend can't take as they are, told once each in the daemon's log."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from asynclogd.backends.base import Backend
from asynclogd.points import Item, Media, Params, Points, Summary

log = logging.getLogger(__name__)

MOST = 20
"""Names that are told, of one backend of a run."""

_KEPT = 1024


class Spellings:
    """Sees what the backend `name` is offered. For one thread."""

    def __init__(self, name: str, backend: Backend) -> None:
        self._name, self._backend = name, backend
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
            log.info("%s can't take the name %.100r as it is: there it is %.100r", self._name, name, spelt)
            if len(self._told) == MOST:
                log.info("%s: no more of the names that it spells in another way are told", self._name)
                self._ended = True
