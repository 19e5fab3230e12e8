"""The disk of a run is full for a while: a small file system of its own, in a mount namespace (`unshare`)."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import HERE, Start
from tests.e2e.oracle import csv_series, expect_unblocked, returned, tensorboard_series, value
from tests.faults.plugin import Tell

pytestmark = pytest.mark.timeout(180)

SCRIPT = """
set -e
mkdir -p "$DISK"
mount -t tmpfs -o size=4m none "$DISK"
fill() { dd if=/dev/zero of="$DISK/filler" bs=4k 2>/dev/null || true; }
steps() { "$PYTHON" -c "$STEPS"; }
said() { until "$PYTHON" -m asynclogd status --json | grep -q "$1"; do sleep 0.1; done; }
head -c 8 /dev/zero > "$DISK/returned-run-0"
[ "$WHEN" = before ] && fill
"$PYTHON" "$WORKER" "$DISK" --period 0.001 --endless --until "$TOLD/enough" &
if [ "$WHEN" = later ]; then
    said '"journaled": [1-9]'
    fill
fi
said 'No space left\\|disk is full'
"$PYTHON" -m asynclogd status > "$TOLD/status.txt"
full=$(steps)
until [ "$(steps)" -gt $((full + 1000)) ]; do sleep 0.1; done
rm "$DISK/filler"
said '"journal_error": ""'
touch "$TOLD/enough"
wait %1
"$PYTHON" -c "$BALANCED" "$DISK/p/run" $(($(steps) + 1))
cp -r "$DISK/." "$TOLD"
"""

STEPS = "import os; print(int.from_bytes(open(os.environ['DISK'] + '/returned-run-0', 'rb').read() or b'\\0', 'big'))"

BALANCED = """
import sys
from pathlib import Path
from tests.e2e.balance import expect_balanced
expect_balanced(Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.mark.fault("disk-full")
@pytest.mark.parametrize("when", ["before", "later"])
def test_a_disk_that_was_full_has_everything_once_it_is_free(
    when: str, start: Start, tmp_path: Path, output: Callable[[], str], figures: Tell
) -> None:
    """Full before the run began, or in the middle of it; the ranks log on meanwhile."""
    if shutil.which("unshare") is None:
        pytest.fail("this test mounts a small file system with unshare, of util-linux")
    told = tmp_path / "told"
    told.mkdir()
    paths = os.pathsep.join([str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = start(
        "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT,
        WHEN=when, DISK=str(tmp_path / "disk"), TOLD=str(told), STEPS=STEPS, BALANCED=BALANCED,
        PYTHON=sys.executable, WORKER=str(HERE / "worker.py"), PYTHONPATH=paths,
    )  # fmt: skip
    assert process.wait(150) == 0, output()
    assert re.search("No space left|disk is full", (told / "status.txt").read_text())
    steps = returned(told / "returned-run-0") + 1
    for read in (csv_series, tensorboard_series):
        assert read(told / "p" / "run", "loss") == {step: [value(0, step)] for step in range(steps)}
    figures(issued=steps, lost=0, doubled=0, log_p999_us=expect_unblocked(told))
