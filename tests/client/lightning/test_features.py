"""One and two ranks: what the guide shows past numbers and options, and what is in the files when fit returns."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client.eventfiles import accumulated, values
from tests.client.lightning.modules import MARKS, rows, scalars
from tests.client.lightning.test_ranks import PYTHON, TORCHRUN
from tests.conftest import own_runtime_dir

pytestmark = [*MARKS, pytest.mark.timeout(240)]

SCRIPT = Path(__file__).with_name("train_features.py")
LOGGED = [1, 3, 5, 7, 9, 11]
"""The steps of two epochs of six batches with log_every_n_steps=2."""
LAUNCHES = {"alone": (PYTHON, "auto", 1), "spawn": (PYTHON, "ddp_spawn", 2), "torchrun": (TORCHRUN, "ddp", 2)}

Series = dict[str, list[tuple[int, float]]]


def numbers(log_dir: Path) -> Series:
    """What metrics.csv has, by name: (step, value), sorted."""
    found: Series = {}
    for row in rows(log_dir):
        for name, value in row.items():
            found.setdefault(name, []).append((int(row["step"]), value))
    return {name: sorted(points) for name, points in found.items()}


def near(points: list[tuple[int, float]]) -> Any:
    """The same steps, and values as equal as float32 can be."""
    return [(step, pytest.approx(value, rel=2e-6, abs=1e-7)) for step, value in points]


@pytest.fixture(scope="module", params=list(LAUNCHES))
def launch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ranks(launch: str) -> range:
    """Those that have trained."""
    return range(LAUNCHES[launch][2])


@pytest.fixture(scope="module")
def out(launch: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where they have trained."""
    launcher, strategy, world_size = LAUNCHES[launch]
    path = tmp_path_factory.mktemp(launch)
    command = [*launcher, str(SCRIPT), str(path), strategy, str(world_size)]
    with own_runtime_dir(), pytest.MonkeyPatch.context() as environment:
        environment.setenv("ASYNCLOG_HOST_METRICS_ENABLED", "false")
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert "asynclog:" not in done.stderr
        yield path


@pytest.fixture
def ours(out: Path) -> Path:
    """Our files as they were when rank 0's fit returned."""
    return out / "after_fit" / "ours" / "lightning_logs" / "version_0"


@pytest.fixture
def theirs(out: Path) -> Path:
    """The files of Lightning's loggers then."""
    return out / "after_fit" / "theirs" / "lightning_logs" / "version_0"


def test_values_of_all_ranks_are_in_both_files_when_fit_returns(ranks: range, ours: Path, theirs: Path) -> None:
    table, board, wanted = numbers(ours), scalars(ours), numbers(theirs)
    assert {name for name in wanted if not name.endswith("_synced") and name != "step"} <= table.keys()
    names = ["bar", "least", "more", "most", "task_0", "task_1", "worst", "val_of_0", "val_of_1"]
    forked = [f"p-{name}_synced_{when}" for name in names for when in ("epoch", "step")]
    forked += [f"p-val_synced_{when}/dataloader_idx_{index}" for when in ("epoch", "step") for index in range(2)]
    assert sorted(name for name in wanted if "_synced" in name) == sorted(forked)
    for name in forked:
        for twin in (name, name.replace("_synced", "")):
            assert table[twin] == near(wanted[name]), twin
            assert sorted(board[twin]) == near(table[twin]), twin
    assert [step for step, _ in table["p-worst_step"]] == LOGGED
    # Rank 1 has 1.4 + index / 3, rank 0 0.7 + index / 3.
    worst = 0.7 * len(ranks) + 5 / 3
    assert table["p-worst_epoch"] == near([(5, worst), (11, worst)])
    assert table["p-least_epoch"] == near([(5, 0.7), (11, 0.7)])
    assert not [name for name in table | board if "quiet" in name]


def test_a_torchmetrics_object_and_gradient_norms_are_as_lightnings(ranks: range, ours: Path, theirs: Path) -> None:
    table, wanted = numbers(ours), numbers(theirs)
    squares = [[((rank + 1) * 0.7 + index / 3) ** 2 for rank in ranks] for index in range(6)]
    # An epoch's is over all ranks' samples, of which rank 1 has twice as many; a step's is the mean of the ranks'.
    samples = [rank + 1 for rank in ranks]
    mean = sum(count * square for each in squares for count, square in zip(samples, each, strict=True))
    mean /= 6 * sum(samples)
    assert table["p-error_epoch"] == near([(5, mean), (11, mean)])
    assert table["p-error_epoch"] == near(wanted["p-error_epoch"])
    assert table["p-error_step"] == near([(step, sum(squares[step % 6]) / len(ranks)) for step in LOGGED])
    assert [step for step, _ in wanted["p-grad_norm"]] == LOGGED
    assert table["p-grad_norm"] == near(wanted["p-grad_norm"])


def test_the_monitor_of_devices_has_its_names_and_steps(ours: Path, theirs: Path) -> None:
    # It logs at each batch of a validation with the training's step: of several ranks a step is one point.
    found, wanted = (
        {name: sorted(dict(points)) for name, points in numbers(path).items() if "DeviceStats" in name}
        for path in (ours, theirs)
    )
    assert found == wanted
    for when in ("train_batch_start", "train_batch_end", "validation_batch_end"):
        assert found[f"p-DeviceStatsMonitor.on_{when}/cpu_percent"], when


def test_the_progress_bar_has_each_ranks_last_values(ranks: range, out: Path) -> None:
    for rank in ranks:
        bar = json.loads((out / f"bar-{rank}.json").read_text())
        last = (rank + 1) * 0.7 + 5 / 3
        assert {name: bar[name] for name in ("bar_step", "quiet")} == pytest.approx({"bar_step": last, "quiet": last})
        assert bar["bar_synced_step"] == pytest.approx(0.7 * (1 + len(ranks)) / 2 + 5 / 3)


def test_the_experiments_numbers_are_rank_0s_and_there_once(ours: Path, theirs: Path) -> None:
    table, board = numbers(ours), scalars(ours)
    names = ["experiment/deep", "experiment/log", "experiment/metric", "experiment/scalar"]
    for found in (table, board):
        assert sorted(name for name in found if "experiment" in name) == names
        assert all(found[name] == [(1, 1.0), (7, 7.0)] for name in names)
    assert scalars(theirs)["experiment/scalar"] == [(1, 1.0), (7, 7.0)]


def test_the_experiments_media_are_torchs_and_rank_0s_alone(ours: Path, theirs: Path) -> None:
    np, image = pytest.importorskip("numpy"), pytest.importorskip("PIL.Image")

    def content(plugin: str, array: Any) -> Any:
        if plugin == "images":
            return np.asarray(image.open(io.BytesIO(array.tolist()[2])).convert("RGB")).tolist()
        return array.tolist()

    for plugin, tags in (
        ("images", {"figure", "image"}),
        ("histograms", {"histogram"}),
        ("audio", {"audio"}),
        ("text", {"text/text_summary"}),
    ):
        found, wanted = (
            {
                tag: [(step, content(plugin, array)) for step, _, array in points]
                for tag, points in values(path, plugin).items()
            }
            for path in (ours, theirs)
        )
        assert wanted.keys() == tags
        assert all([step for step, _ in points] == [1, 7] for points in wanted.values())
        assert found == wanted, plugin


@pytest.mark.parametrize("file", ["instance/points.sqlite", "named/named.sqlite"])
def test_a_backend_of_ones_own_has_each_reduced_point_once(ranks: range, ours: Path, file: str) -> None:
    with closing(sqlite3.connect(ours / file)) as database:
        points = database.execute("SELECT name, step, value, ranks FROM points ORDER BY step").fetchall()
    found: Series = {}
    for name, step, value, _ in points:
        found.setdefault(name, []).append((step, value))
    table = numbers(ours)
    for name in ("p-worst_step", "p-bar_epoch", "p-val_epoch/dataloader_idx_1", "p-grad_norm", "p-error_step"):
        assert found[name] == near(table[name]), name
    assert {count for name, _, _, count in points if name == "p-worst_step"} == {len(ranks)}
    assert {count for name, _, _, count in points if name == "experiment/log"} == {1}


def test_the_graph_of_the_model_is_there(ours: Path, theirs: Path) -> None:
    found, wanted = ([node.name for node in accumulated(path).Graph().node] for path in (ours, theirs))
    assert found == wanted != []


def test_hyperparameters_are_there_once_as_they_were_saved(out: Path, ours: Path, theirs: Path) -> None:
    (file,) = (out / "ours").rglob("hparams.yaml")
    saved = (ours / "hparams.yaml").read_text()
    assert saved == file.read_text() == (theirs / "hparams.yaml").read_text()
    assert yaml.safe_load(saved) == {"out": str(out), "lr": 0.1, "layers": [2, 1]}


def test_after_a_fit_and_a_predict_there_is_only_what_was_logged_after_them(launch: str, out: Path, ours: Path) -> None:
    (log_dir,) = (out / "ours" / "lightning_logs").iterdir()
    assert log_dir.name == "version_0"
    later = 1.5 if launch == "torchrun" else 1.0  # after spawned processes have trained, theirs logs alone
    assert rows(log_dir) == [*rows(ours), {"p-later": later, "step": 99}]
    assert scalars(log_dir) == {**scalars(ours), "p-later": [(99, later)]}
