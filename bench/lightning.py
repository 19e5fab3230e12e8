"""`python bench/lightning.py [--quick] [--json PATH|-] [--readme] [--check]`: see trainer_steps.py, which measures.

It gives way to the package of its name as bench/tensorboard.py does, and says there why.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [*(path for path in sys.path if Path(path).resolve() != HERE), str(HERE)]

if __name__ == "__main__":
    from trainer_steps import main

    raise SystemExit(main())
if __name__ == "lightning":
    del sys.modules["lightning"]
    importlib.import_module("lightning")
