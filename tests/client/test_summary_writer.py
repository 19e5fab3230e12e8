"""SummaryWriter beside torch's: the same calls, the same directories, tags, steps and values."""

from __future__ import annotations

import inspect
import math
import multiprocessing
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.tensorboard import SummaryWriter as Theirs  # noqa: E402 - what is missing above skips the file

import asynclog  # noqa: E402
from asynclog import AsynclogWarning  # noqa: E402
from asynclog.process import RUNS  # noqa: E402
from asynclog_proto.errors import ConfigError  # noqa: E402
from tests.client.eventfiles import of_both, scalars, steps_after_purge, times  # noqa: E402
from tests.hparamstab import hparams_tab  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _ended(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(RUNS, "current", None)
    yield
    RUNS.finish_all("success", 10)


# ---- the same calls ---------------------------------------------------------------------------------------------


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found]


@pytest.mark.parametrize("name", [name for name in vars(Theirs) if not name.startswith("_")])
def test_every_public_method_has_torchs_parameters_and_defaults(name):
    assert parameters(getattr(asynclog.SummaryWriter, name)) == parameters(getattr(Theirs, name))


def test_the_constructor_has_torchs_parameters_and_more_only_by_keyword():
    ours, theirs = parameters(asynclog.SummaryWriter), parameters(Theirs)
    assert ours[: len(theirs)] == theirs
    assert [kind for _, kind, _ in ours[len(theirs) :]] == [inspect.Parameter.KEYWORD_ONLY]


def test_importing_it_imports_no_torch_and_no_tensorboard():
    code = "import sys; from asynclog import SummaryWriter; print({'torch', 'tensorboard', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ---- the same files ---------------------------------------------------------------------------------------------


def numbers(kind: type[Any], directory: Path) -> None:
    with kind(directory) as writer:
        for step in range(5):
            writer.add_scalar("loss", torch.tensor(1.0 / (step + 1)), step)
            writer.add_scalar("deep/er tag", np.float32(step), torch.tensor(step), walltime=1_000.5 + step)
        writer.add_scalar("one element", torch.ones(1, 1), np.int64(3), new_style=True)
        writer.add_scalar("without a step", 3)
        writer.add_scalar("again", 1.0, 7, double_precision=True)
        writer.add_scalar("again", 2.0, 7)
        writer.add_scalar("again", 3.0, 2)
        writer.add_scalar("cut", True, 1.7)
        writer.add_scalar("odd", math.inf, 1)


def test_numbers_have_the_same_tags_steps_values_and_given_times(tmp_path):
    theirs, ours = of_both(numbers, tmp_path)
    assert scalars(ours) == scalars(theirs)
    assert (
        times(ours / "run", "deep/er tag")
        == times(theirs / "run", "deep/er tag")
        == [1_000.5 + step for step in range(5)]
    )


def test_not_a_number_is_a_value(tmp_path):
    with asynclog.SummaryWriter(tmp_path / "run") as writer:
        writer.add_scalar("odd", math.nan, 1)
    ((step, value),) = scalars(tmp_path / "run")["."]["odd"]
    assert (step, math.isnan(value)) == (1, True)


def curves(kind: type[Any], directory: Path) -> None:
    with kind(directory) as writer:
        for step in range(3):
            writer.add_scalars("run/14h", {"x sin": step * 0.5, "cos/x": torch.tensor(2.0 * step)}, step)
        writer.add_scalars("system/load", {"one": 1.0})
        writer.add_scalar("beside", 1.0, 1)


def test_several_curves_are_runs_below_with_one_tag(tmp_path):
    theirs, ours = of_both(curves, tmp_path)
    found = scalars(ours)
    assert found == scalars(theirs)
    assert set(found) == {"run", "run/run_14h_x sin", "run/run_14h_cos/x", "run/system_load_one"}


def test_files_have_tags_that_are_named_like_the_nodes_and_not_the_nodes_own(tmp_path, monkeypatch, eventually):
    monkeypatch.setenv("ASYNCLOG_HOST_METRICS_INTERVAL", "0.1")
    writer = asynclog.SummaryWriter(tmp_path / "run", backends=["tensorboard", "csv", "jsonl"])
    writer.add_scalar("system/loss", 0.5, 3)
    lines = tmp_path / "run" / "points.jsonl"
    shown = "the node's metrics are in a file that shows them"
    eventually(lambda: lines.is_file() and "system/memory_percent" in lines.read_text(), what=shown)
    writer.close()
    assert scalars(tmp_path / "run") == {".": {"system/loss": [(3, 0.5)]}}
    header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert set(header.split(",")) <= {"step", "epoch", "system/loss"}
    assert len(rows) == 1


def trials(kind: type[Any], directory: Path) -> None:
    with kind(directory) as writer:
        for trial, rate in enumerate((0.1, 0.01)):
            params = {"lr": rate, "layers": 3, "opt": "adam", "amp": True, "none": None}
            metrics = {"hparam/acc": 0.5 + trial, "hparam/loss": torch.tensor(0.25)}
            writer.add_hparams(params, metrics, run_name=f"trial {trial}", global_step=trial or None)
        writer.add_scalar("not/a/metric", 1.0)
        writer.add_hparams({"lr": 1.0, "from": torch.tensor([0.5])}, {"hparam/acc": 1}, {"lr": [1.0]}, "deep/trial")


def test_the_hparams_tab_is_the_same(tmp_path):
    theirs, ours = of_both(trials, tmp_path)
    shown = hparams_tab(theirs)
    assert set(shown) == {"run/trial 0", "run/trial 1", "run/deep/trial"}
    assert hparams_tab(ours) == shown
    assert scalars(ours) == scalars(theirs)


def test_hyperparameters_without_a_name_are_in_a_run_named_by_the_time(tmp_path):
    with asynclog.SummaryWriter(tmp_path / "run") as writer:
        writer.add_hparams({"lr": 0.1}, {"acc": 1.0})
        writer.add_hparams({"lr": 0.2}, {"acc": 2.0})
        with pytest.raises(TypeError, match="should be dictionary"):
            writer.add_hparams({"lr": 0.2}, 2.0)  # type: ignore[arg-type]  # which is the point
    shown = hparams_tab(tmp_path)
    assert [shown[name][0]["lr"] for name in sorted(shown)] == [0.1, 0.2]
    assert all(float(name.removeprefix("run/")) > 1e9 for name in shown)


def test_many_trials_are_all_there_after_a_flush(tmp_path):
    writer = asynclog.SummaryWriter(tmp_path / "run")
    for trial in range(20):
        writer.add_hparams({"trial": trial}, {"acc": trial / 20}, run_name=f"trial {trial}")
    writer.flush()
    shown = hparams_tab(tmp_path)
    assert {params["trial"] for params, _, _ in shown.values()} == set(range(20))
    assert {status for _, status, _ in shown.values()} == {"STATUS_SUCCESS"}


def by_hand(kind: type[Any], directory: Path) -> None:
    from torch.utils.tensorboard.summary import hparams, scalar

    with kind(directory) as writer:
        for summary in hparams({"lr": 0.1, "opt": "adam"}, {"acc": 0.5}):
            writer.file_writer.add_summary(summary)
        writer.file_writer.add_summary(scalar("acc", 0.5), 3)
        assert writer.file_writer.get_logdir() in {directory, str(directory)}


def test_hyperparameters_that_a_script_writes_by_hand_are_the_runs(tmp_path):
    theirs, ours = of_both(by_hand, tmp_path)
    assert hparams_tab(ours) == hparams_tab(theirs)
    assert hparams_tab(ours)["run"][0] == {"lr": 0.1, "opt": "adam"}


# ---- life -------------------------------------------------------------------------------------------------------


def reopened(kind: type[Any], directory: Path) -> None:
    writer = kind(directory)
    writer.add_scalar("loss", 1.0, 5)
    writer.add_scalars("of", {"one": 1.0}, 5)
    writer.close()
    writer.close()
    writer.flush()
    assert writer.file_writer is None
    writer.add_scalar("loss", 2.0, 3)
    writer.add_scalars("of", {"one": 2.0}, 3)
    writer.close()
    with kind(directory) as second, kind(directory) as third:
        second.add_scalar("loss", 3.0, 5)
        second.flush()
        third.add_scalar("loss", 4.0, 1)


def unordered(directory: Path) -> dict[str, dict[str, list[Any]]]:
    return {run: {tag: sorted(points) for tag, points in tags.items()} for run, tags in scalars(directory).items()}


def test_closed_writers_go_on_and_several_of_a_directory_add_up(tmp_path):
    theirs, ours = of_both(reopened, tmp_path)
    # torch's files are read in the order of their names, where the process's tenth writer stands before its ninth.
    assert unordered(ours) == unordered(theirs)
    assert scalars(ours)["run"] == {"loss": [(5, 1.0), (3, 2.0), (5, 3.0), (1, 4.0)]}


def crashed(kind: type[Any], directory: Path) -> None:
    with kind(directory) as writer:
        for step in range(10):
            writer.add_scalar("loss", float(step), step)
    with kind(directory, purge_step=6) as writer:
        writer.add_scalar("loss", -8.0, 8)
        writer.close()
        writer.add_scalar("loss", -9.0, 9)


def test_purge_step_hides_what_came_from_there_on_once(tmp_path):
    theirs, ours = of_both(crashed, tmp_path)
    assert scalars(ours) == scalars(theirs)
    assert steps_after_purge(ours / "run", "loss") == steps_after_purge(theirs / "run", "loss") == [*range(6), 8, 9]


def test_flush_returns_when_the_files_are_whole(tmp_path):
    writer = asynclog.SummaryWriter(tmp_path / "run")
    for step in range(100):
        writer.add_scalar("loss", 0.5, step)
    writer.add_scalars("of", {"one": 1.0})
    writer.flush()
    found = scalars(tmp_path / "run")
    assert (len(found["."]["loss"]), found["of_one"]) == (100, {"of": [(0, 1.0)]})


def test_a_script_that_never_closes_loses_nothing(tmp_path):
    script = """
        from asynclog import SummaryWriter
        writer = SummaryWriter(comment="-tuned")
        for step in range(50):
            writer.add_scalar("loss", step, step)
        writer.add_scalars("of", {"one": 1.0})
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.endswith("-tuned")
    assert len(scalars(run)["."]["loss"]) == 50
    assert scalars(run)["of_one"] == {"of": [(0, 1.0)]}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_forked_child_logs_to_the_same_directory(tmp_path):
    writer = asynclog.SummaryWriter(tmp_path / "run")
    writer.add_scalar("parent", 1.0)

    def child() -> None:
        writer.add_scalar("child", 2.0)
        writer.add_scalars("of", {"child": 3.0})
        writer.close()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    writer.add_scalar("parent", 4.0, 1)
    writer.close()
    assert process.exitcode == 0
    assert scalars(tmp_path / "run") == {
        ".": {"parent": [(0, 1.0), (1, 4.0)], "child": [(0, 2.0)]}, "of_child": {"of": [(0, 3.0)]},
    }  # fmt: skip


def test_an_exception_in_the_block_fails_the_run(tmp_path):
    def train() -> None:
        with asynclog.SummaryWriter(tmp_path / "run") as writer:
            writer.run.params({"lr": 0.1})
            writer.add_scalar("loss", 1 / 0)

    with pytest.raises(ZeroDivisionError):
        train()
    assert hparams_tab(tmp_path)["run"][1] == "STATUS_FAILURE"


def test_one_rank_of_many_is_a_run_by_itself(tmp_path, monkeypatch):
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    with asynclog.SummaryWriter(tmp_path / "run") as writer:
        writer.add_scalar("loss", 1.0, 0)
        assert (writer.run.rank, writer.run.world_size) == (0, 1)
    assert scalars(tmp_path / "run") == {".": {"loss": [(0, 1.0)]}}


# ---- arguments --------------------------------------------------------------------------------------------------


def test_the_default_directory_is_torchs_and_stays_when_the_script_goes_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = Theirs(comment="-c")
    theirs.close()
    writer = asynclog.SummaryWriter(comment="-c")
    monkeypatch.chdir("/")
    writer.add_scalar("loss", 1.0)
    writer.close()
    writer.add_scalar("loss", 2.0)
    writer.close()
    assert Path(writer.get_logdir()).parts[0] == Path(theirs.get_logdir()).parts[0] == "runs"
    assert Path(writer.log_dir).name.split("_", 2)[2] == Path(theirs.log_dir).name.split("_", 2)[2]
    assert scalars(tmp_path / writer.log_dir)["."] == {"loss": [(0, 1.0), (0, 2.0)]}


def test_the_files_suffix_and_the_attributes_are_as_given(tmp_path):
    with asynclog.SummaryWriter(str(tmp_path / "run"), "", 3, 20, 60, ".mine") as writer:
        assert writer.get_logdir() == writer.log_dir == str(tmp_path / "run")
        assert (writer.max_queue, writer.flush_secs, writer.filename_suffix) == (20, 60, ".mine")
        writer.add_scalar("loss", 1.0, 3)
    assert [path.name[-5:] for path in (tmp_path / "run").glob("*tfevents.[1-9]*")] == [".mine"]


def test_another_backend_writes_into_the_same_directory(tmp_path):
    with asynclog.SummaryWriter(tmp_path / "run", backends=["tensorboard", "csv"]) as writer:
        writer.add_scalar("loss", 0.5, 3)
    assert (tmp_path / "run" / "metrics.csv").read_text().splitlines() == ["loss,step", "0.5,3"]
    assert scalars(tmp_path / "run") == {".": {"loss": [(3, 0.5)]}}


@pytest.mark.parametrize(
    ("log_dir", "error"), [("s3://bucket/run", ValueError), ("/run", ConfigError), ("/tmp/.hidden/run", ConfigError)]
)
def test_a_directory_that_can_be_no_runs_is_refused(log_dir, error):
    with pytest.raises(error):
        asynclog.SummaryWriter(log_dir)


def test_what_is_no_number_warns_and_the_rest_is_logged(tmp_path):
    with asynclog.SummaryWriter(tmp_path / "run") as writer:
        with pytest.warns(AsynclogWarning, match="'text' is the text 'high'"):
            writer.add_scalar("text", "high", 1)
        with pytest.warns(AsynclogWarning, match="step='third' is not a whole number"):
            writer.add_scalar("step", 1.0, "third")
        writer.add_scalar("loss", 0.5, 1)
        assert writer.run.stats.dropped["bad_value"] == 1
    assert scalars(tmp_path / "run")["."]["loss"] == [(1, 0.5)]


def test_the_curves_runs_leave_the_current_run_alone(tmp_path):
    with asynclog.SummaryWriter(tmp_path / "run") as writer:
        writer.add_scalars("of", {"one": 1.0})
        writer.add_hparams({"lr": 1.0}, {"acc": 1.0})
        assert asynclog.current_run() is writer.run
