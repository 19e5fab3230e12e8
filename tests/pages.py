"""Pages of the documentation whose code runs as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import end_processes_of


def blocks(text: str) -> list[str]:
    """A page's blocks of Python, in their order."""
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def run_code(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in one process that stands in `folder` and has a runtime directory of its own; it has to end well."""
    runtime = Path(tempfile.mkdtemp(prefix="al-"))
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        env={**os.environ, "ASYNCLOG_RUNTIME_DIR": str(runtime)},
    )
    end_processes_of(runtime)
    shutil.rmtree(runtime)
    assert result.returncode == 0, result.stderr
    return result
