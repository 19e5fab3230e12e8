"""The writing end of a ring: the compiled one where the wheel has it, else its twin in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynclog.compiled import extension

if TYPE_CHECKING:
    from asynclog.pywriter import Writer

__all__ = ["COMPILED", "Writer"]


def _chosen() -> tuple[bool, type[Writer]]:
    compiled = extension("_writer")
    if compiled is not None:
        return True, compiled.Writer
    from asynclog.pywriter import Writer as Twin

    return False, Twin


COMPILED, _writer = _chosen()
if not TYPE_CHECKING:
    Writer = _writer
