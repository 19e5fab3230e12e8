"""The reductions that a metric may declare, by the names that the wire and the API use."""

from __future__ import annotations

REDUCTIONS = ("mean", "sum", "min", "max", "last", "first", "std", "none")
"""`none` keeps a series a rank; `std` is the population's, of all values that the ranks gave."""

DEFAULT = ("mean",)
