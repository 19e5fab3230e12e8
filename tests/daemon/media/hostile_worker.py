"""A worker whose encoder does what the text of an item tells it: what a broken item makes a library do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asynclog_proto.media import Section
from asynclogd.media.forms import MARKDOWN, Encoded, UnfitError
from asynclogd.media.worker import main


def encode(kind: str, sections: tuple[Section, ...], options: Mapping[str, Any], body: memoryview) -> Encoded:
    text = bytes(body).decode()
    if text == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif text.startswith("crash once "):
        path = Path(text.removeprefix("crash once "))
        if path.exists():
            path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    elif text == "hang":
        time.sleep(3600)
    elif text == "memory":
        bytearray(4 << 30)
    elif text == "unfit":
        raise UnfitError("a text that is unfit")
    elif text == "bug":
        raise ZeroDivisionError("division by zero")
    elif text == "noise":
        print("to the daemon's pipe")
    elif text == "lies":
        os.write(sys.stdout.fileno(), b"x" * 100)
        os.write(3, b"x" * 100)  # where answers go
    elif text == "large":
        return Encoded(MARKDOWN, bytes(300 << 20))
    elif text == "odd":
        return Encoded(MARKDOWN, b"", {"depth": [[[[[[[[[[1]]]]]]]]]]})
    return Encoded(MARKDOWN, bytes(body), {"kind": kind, "sections": len(sections), **options})


if __name__ == "__main__":
    main(encode, int(sys.argv[1]), int(sys.argv[2]))
