"""What lint makes of pip-audit's answer, which has the form that pip-audit 2 documents."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

verdict: Any = runpy.run_path(str(Path(__file__).parents[2] / ".ci" / "audit.py"))["verdict"]

SOUND = {"name": "attrs", "version": "25.1", "vulns": []}
UNKNOWN = {"name": "asynclogd", "skip_reason": "Dependency not found on PyPI"}


def hole(*fixed: str) -> dict[str, Any]:
    return {"name": "flask", "version": "0.5", "vulns": [{"id": "PYSEC-2019-179", "fix_versions": list(fixed)}]}


def of(*packages: dict[str, Any]) -> Any:
    return verdict(json.dumps({"dependencies": packages, "fixes": []}), "")


def test_holes_are_told_with_the_release_that_mends_them() -> None:
    lines, holes, known = of(SOUND, hole("1.0", "0.12.3"), hole())
    assert lines[1:] == [
        "flask 0.5: PYSEC-2019-179, mended in 1.0, 0.12.3",
        "flask 0.5: PYSEC-2019-179, mended in none",
    ]
    assert (holes, known) == (True, True)


def test_what_is_not_known_is_counted() -> None:
    lines, holes, known = of(SOUND, UNKNOWN)
    assert lines == ["1 packages audited, 1 are unknown to the service"]
    assert (holes, known) == (False, False)


def test_a_service_that_can_not_be_reached_is_no_sound_answer() -> None:
    lines, holes, known = verdict("", "WARNING: x\nERROR:pip_audit: Could not connect\n")
    assert lines == ["not audited: ERROR:pip_audit: Could not connect"]
    assert (holes, known) == (False, False)
