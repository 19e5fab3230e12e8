"""asynclog: what a training process imports."""

from __future__ import annotations

from asynclog_proto._version import __version__

__all__ = ["__version__"]
