"""How many instructions the guarded work takes, by valgrind's callgrind: the same on a busy machine as on a quiet one.

callgrind writes its count out, and begins anew, whenever `getsid` is called, which nothing else does here. So the
counted process calls it before and after each piece of work, and the second count of each pair is that piece's.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

MARK = "getsid"
LONGEST_S = 300.0


def available() -> bool:
    """Whether there is a valgrind, and marks that it can see."""
    return sys.platform == "linux" and shutil.which("valgrind") is not None


def valid_for() -> str:
    """What counts depend on: compare only where this is the same."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}"
    )


def counted() -> dict[str, int]:
    """Instructions of each piece of work, by name. Raises RuntimeError when valgrind or the work fails."""
    with tempfile.TemporaryDirectory(prefix="asynclog-guard-") as folder:
        out = Path(folder, "counts")
        command = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={out}"]
        environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*command, sys.executable, __file__, folder],
            env=environ, capture_output=True, text=True, check=False, timeout=LONGEST_S,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"valgrind ended with {done.returncode}: {done.stderr[-1000:]}")
        texts = [Path(f"{out}.{number}").read_text() for number in range(1, 2 * len(done.stdout.splitlines()) + 1)]
        return dict(zip(done.stdout.splitlines(), between_marks(texts), strict=True))


def between_marks(texts: list[str]) -> list[int]:
    """The count of each second text of callgrind's. Raises ValueError for one that has none."""
    found = [re.search(r"^totals: (\d+)$", text, re.MULTILINE) for text in texts[1::2]]
    if not all(found):
        raise ValueError("callgrind wrote a file without totals")
    return [int(match[1]) for match in found if match]


def main() -> None:
    """The counted process."""
    from guard_work import works

    with works(Path(sys.argv[1])) as found:
        for work in found:
            given = work.prepare()
            os.getsid(0)
            work.ours(given)
            os.getsid(0)
            print(work.name, flush=True)


if __name__ == "__main__":
    main()
