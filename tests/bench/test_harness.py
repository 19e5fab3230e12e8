"""The arithmetic and the writers that all benchmarks share."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


def load(name: str) -> ModuleType:
    """A script's module, by path: bench/ is no package. Dataclasses look their module up by name."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


harness, cpu = load("harness"), load("cpu")


def test_quantiles_are_nearest_ranks_in_microseconds():
    found = harness.quantiles_us([1_000 * n for n in range(1_000, 0, -1)])
    assert found == {"p50_us": 501, "p99_us": 990, "p999_us": 999, "max_us": 1_000}


def test_one_sample_is_every_quantile():
    assert set(harness.quantiles_us([1_500]).values()) == {1.5}


def test_the_error_of_a_median_is_that_of_normal_samples_and_no_outlier_moves_it():
    samples = random.Random(0).choices(range(-1000, 1001), k=10_000)
    found = harness.error_of_median(samples)
    assert found == pytest.approx(1.2533 * 1.4826 * 500 / 100, rel=0.05)  # evenly spread: half are within 500
    assert harness.error_of_median([*samples, 10**9]) == pytest.approx(found, rel=0.01)
    assert harness.error_of_median([7]) == 0


def test_median_rows_folds_repeats_and_keeps_what_is_no_number():
    rows = [{"contender": name, "us": us, "label": name.upper()} for name in "ab" for us in (3, 1, 100)]
    folded = harness.median_rows(rows, ["contender"])
    assert folded == [{"contender": name, "us": 3, "label": name.upper(), "repeats": 3} for name in "ab"]


def test_contenders_take_turns_and_each_is_first_once():
    order = list(harness.interleaved(["a", "b", "c"], 3))
    assert sorted(order) == [(repeat, name) for repeat in range(3) for name in "abc"]
    assert [order[0][1], order[3][1], order[6][1]] == ["a", "b", "c"]


def test_the_error_of_a_mean_is_none_for_one():
    assert harness.error_of_mean([1.0, 3.0]) == pytest.approx(1.0)
    assert harness.error_of_mean([7]) == 0


def test_a_generated_table_replaces_the_one_between_its_markers():
    text = "before\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nafter <!-- bench:y --><!-- /bench:y -->\n"
    replaced = harness.replace_block(text, "x", "new\n")
    assert replaced == text.replace("old", "new")
    assert harness.replace_block(replaced, "x", "new") == replaced


@pytest.mark.parametrize("text", ["", "<!-- bench:x -->", "<!-- /bench:x --><!-- bench:x -->"])
def test_missing_markers_are_an_error_that_names_them(text: str):
    with pytest.raises(ValueError, match="bench:x"):
        harness.replace_block(text, "x", "new")


def test_checks_hold_at_their_limit_and_fail_past_it():
    assert harness.Check("cost", 0.25, 0.25).passed
    assert not harness.Check("cost", 0.26, 0.25).passed
    assert harness.Check("rate", 3e6, 3e6, at_least=True).passed


def test_json_is_a_list_of_rows_that_name_the_machine_and_versions(tmp_path: Path):
    harness.write_json(str(tmp_path / "rows.json"), [{"names": 1}], "Python 3")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["names"] == 1
    assert row["machine"]
    assert row["versions"] == "Python 3"


BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_cpu_of_a_child_that_ended_is_counted():
    tree = cpu.ProcessTree()
    before = tree.cpu_seconds()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert tree.cpu_seconds() - before >= 0.3


def test_cpu_of_a_named_process_outside_the_tree_is_counted_and_kept_when_it_ends():
    detached = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]]); print(p.pid)"
    done = "import sys\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", detached, f"import time\n{done}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdin is not None
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        parent.wait()
        (pid,) = (int(line) for line in lines if line.isdigit())
        alone, tree = cpu.ProcessTree(), cpu.ProcessTree(lambda: [pid])
        counted = tree.cpu_seconds() - alone.cpu_seconds()
        parent.stdin.close()
    assert counted >= 0.3 - 0.05
    assert tree.cpu_seconds() - alone.cpu_seconds() >= 0.3 - 0.05


def test_the_cpu_clock_of_a_process_that_is_gone_is_none():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert cpu.cpu_clock(gone.pid) is None


def test_a_table_goes_to_the_page_that_has_its_place(tmp_path: Path) -> None:
    pages = [tmp_path / "a.md", tmp_path / "b.md"]
    pages[0].write_text("<!-- bench:x -->\n<!-- /bench:x -->\n")
    pages[1].write_text("<!-- bench:y -->\n<!-- /bench:y -->\n")
    harness.write_readme("y", "new", pages)
    assert [page.read_text().count("new") for page in pages] == [0, 1]
    with pytest.raises(ValueError, match="bench:z"):
        harness.write_readme("z", "new", pages)


def test_a_table_of_a_page_names_its_machine_above_it():
    above, empty, head, *_, last = harness.markdown(["what", "ms"], [["a", "1"]], "Python 3.").splitlines()
    assert (above, empty, head) == (f"*Machine: {harness.machine_line()}*", "", "| what | ms |")
    assert last == "Python 3."
