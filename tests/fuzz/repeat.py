"""One input again, without atheris: `python -m tests.fuzz.repeat TARGET FILE...`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS


def main() -> None:
    """Raises what the target raises."""
    name, *files = sys.argv[1:]
    with TARGETS[name].opened() as run:
        for file in files:
            run(Path(file).read_bytes())


if __name__ == "__main__":
    main()
