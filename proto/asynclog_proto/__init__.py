"""The protocol of asynclog, pure: no socket, no thread, no clock, no file.

SPEC.md, beside this package, tells it for other languages.
"""

from asynclog_proto._version import __version__

__all__ = ["__version__"]
