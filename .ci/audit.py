#!/usr/bin/env python3
"""Known holes in what constraints.txt pins, by pip-audit, which asks a service on the internet about each package.

Exit code 1 where there are some, each with a line. What the service can't be asked about is told too, with exit code 0,
for lint has to work without a network: --strict makes that a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
COMMAND = (sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=5")


def verdict(answer: str, errors: str) -> tuple[list[str], bool, bool]:
    """Of pip-audit's JSON and its stderr: what to print, whether there are holes, whether all packages are known."""
    if not answer:
        return ["not audited: " + (errors.strip() or "pip-audit said nothing").splitlines()[-1]], False, False
    packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    unknown = sum("vulns" not in package for package in packages)
    lines = [f"{len(packages) - unknown} packages audited, {unknown} are unknown to the service"]
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'none'}"
        for package in packages
        for hole in package.get("vulns", ())
    ]
    return lines + holes, bool(holes), not unknown


def main() -> int:
    if find_spec("pip_audit") is None:
        sys.exit("pip-audit is not installed: make install")
    command = [*COMMAND, "-r", str(PINS), "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines, holes, known = verdict(done.stdout, done.stderr)
    print("\n".join(lines))
    return int(holes or ("--strict" in sys.argv[1:] and not known))


if __name__ == "__main__":
    sys.exit(main())
