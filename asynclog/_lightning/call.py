"""One call of a logger, as the connector hands it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from asynclog._lightning.lanes import STEP, Lane


@dataclass(frozen=True, eq=False)
class Plan:
    """Names that are a row at every step, and how they are reduced where not by the mean.

    It is told by what it is, not by what is in it: nobody compares names to see that a step is like the one before.
    """

    names: tuple[str, ...]
    reduce: Mapping[str, str]

    def __contains__(self, name: object) -> bool:
        return name in self.names


class Call(NamedTuple):
    """Numbers or tensors by name that are one row, this rank's weight in their means, how they are reduced where not by
    the mean, and their lane; `plan` where they have one.
    """

    metrics: Mapping[str, Any]
    step: int | None
    weight: float | None = None
    reduce: Mapping[str, str] = MappingProxyType({})
    lane: Lane = STEP
    plan: Plan | None = None
