"""What runs in the process that uploads a run: W&B's own `wandb beta sync --live FILE`, until that is done or whoever
started it has gone.

    python -m asynclogd.backends._wandbsync PARENT_PID FILE

wandb-core, which it starts, ends with it.
"""

from __future__ import annotations

import os
import sys
import threading
import time

_LOOK_EVERY = 0.5


def main() -> None:
    """See the module's docstring."""
    parent, file = int(sys.argv[1]), sys.argv[2]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from wandb.cli.cli import cli

    cli(["beta", "sync", "--live", file])


def _end_with(parent: int) -> None:
    """A daemon that was killed closes nothing and tells nobody: its child has another parent then."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(1)


if __name__ == "__main__":
    main()
