"""`python bench/tensorboard.py [--quick] [--json PATH|-] [--check]`: see event_files.py, which measures.

This file has the name of the package that is measured, and stands in a folder that Python puts first on its path.
So it gives way: to its own imports as a script, and to the package when another script here imports `tensorboard`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [*(path for path in sys.path if Path(path).resolve() != HERE), str(HERE)]

if __name__ == "__main__":
    from event_files import main

    raise SystemExit(main())
if __name__ == "tensorboard":
    del sys.modules["tensorboard"]
    importlib.import_module("tensorboard")
