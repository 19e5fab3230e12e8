"""The daemon of asynclog: everything that `log()` does not do."""

from __future__ import annotations

from asynclog_proto._version import __version__

__all__ = ["__version__"]
