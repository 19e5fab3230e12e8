"""bench/everything.py: runs all there is, and says which failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.bench.conftest import BENCH, Script


@pytest.fixture
def everything(script: Script) -> ModuleType:
    return script("everything")


def test_a_benchmark_that_fails_is_named_and_the_others_run(
    everything: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts, results = tmp_path / "bench", tmp_path / "results"
    scripts.mkdir()
    results.mkdir()
    for name, code in (("first", 3), ("second", 0)):
        text = f"import sys, pathlib\npathlib.Path(sys.argv[2]).write_text('new')\nsys.exit({code})\n"
        (scripts / f"{name}.py").write_text(text)
    (scripts / "third.py").write_text("raise RuntimeError\n")
    (results / "third.json").write_text("old")
    monkeypatch.setattr(everything, "HERE", scripts)
    assert everything.run_all(["first", "third", "second"], [], results) == ({"first": 3, "third": 1}, [])
    assert {path.name: path.read_text() for path in results.iterdir()} == {"first.json": "new", "second.json": "new"}


def test_without_a_gpu_its_benchmark_is_left_out_with_a_line(
    everything: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(everything, "gpu_missing", lambda: "CUDA sees none")
    without = everything.all_here()
    assert capsys.readouterr().out == "bench/gpu.py is left out, for it wants a GPU: CUDA sees none\n"
    monkeypatch.setattr(everything, "gpu_missing", lambda: "")
    assert sorted(everything.all_here()) == sorted([*without, "gpu"])
    assert capsys.readouterr().out == ""


def test_a_quick_look_changes_no_page(everything: ModuleType, tmp_path: Path) -> None:
    for name in (*everything.BENCHMARKS, "charts"):
        assert "--readme" in everything.command_of(name, [], tmp_path)
        assert "--readme" not in everything.command_of(name, ["--quick"], tmp_path)
    charts = everything.command_of("charts", ["--quick"], tmp_path)
    assert charts[charts.index("--images") + 1] == str(tmp_path)


def test_all_have_the_options_that_they_are_given(everything: ModuleType) -> None:
    for name in everything.BENCHMARKS:
        done = subprocess.run([sys.executable, str(BENCH / f"{name}.py"), "--help"], capture_output=True, check=True)
        assert {b"--json", b"--readme", b"--check", b"--quick"} <= set(done.stdout.replace(b"]", b" ").split()), name


def test_it_ends_with_the_failure_of_what_failed(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "everything.py"), "--only", "import_time", "--results", str(tmp_path)]
    good = subprocess.run([*command, "--", "--quick"], capture_output=True, text=True, check=False)
    bad = subprocess.run([*command, "--", "--quick", "--runs", "no"], capture_output=True, text=True, check=False)
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "FAILED: bench/import_time.py" in bad.stdout
    assert not (tmp_path / "import_time.json").exists()


def test_with_check_a_promise_that_does_not_hold_is_a_failure_and_stands_in_the_table(
    everything: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = tmp_path / "bench"
    scripts.mkdir()
    script = (
        f"import sys; sys.path.insert(0, {str(BENCH)!r}); import harness\n"
        "options = harness.parser('a benchmark').parse_args()\n"
        "checks = [harness.Check('kept', 1, 2), harness.Check('broken', 3, 4, at_least=True)]\n"
        "held = harness.print_checks(harness.console(None), checks)\n"
        "sys.exit(0 if held or not options.check else 1)\n"
    )
    (scripts / "memory.py").write_text(script)
    monkeypatch.setattr(everything, "HERE", scripts)
    for options, code in (([], 0), (["--check"], 1)):
        arguments = ["everything.py", "--only", "memory", "--results", str(tmp_path), *options, "--", "--quick"]
        monkeypatch.setattr(sys, "argv", arguments)
        assert everything.main() == code
        rows = [line.strip(" │").split("│") for line in capsys.readouterr().out.splitlines() if "memory  " in line]
        found = [[cell.strip() for cell in row] for row in rows if len(row) > 1]
        assert found == [["memory", "kept", "1", "at most 2", "PASS"], ["memory", "broken", "3", "at least 4", "FAIL"]]
