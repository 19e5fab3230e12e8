"""Runs what it is given as an asynclog of the next protocol version does, which says the same by another number.

newer.py -m MODULE ARGUMENT ... | newer.py SCRIPT ARGUMENT ...
"""

from __future__ import annotations

import runpy
import sys

from asynclog_proto import frames, messages

NEXT = 2


def main() -> None:
    # Where they are read from: the encoder, the decoder, and the default of a field.
    messages.VERSION = frames.VERSION = NEXT
    messages.Refused._defaults["versions"] = (NEXT,)  # type: ignore[attr-defined]
    if sys.argv[1] == "-m":
        sys.argv = sys.argv[2:]
        runpy.run_module(sys.argv[0], run_name="__main__")
    else:
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
