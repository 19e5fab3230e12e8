"""Comet's archives: what its own uploader makes of them, by the schema that it has for each message."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends._cometarchive import FOLDER
from asynclogd.backends._cometnames import spelt
from asynclogd.backends._spelling import meant
from asynclogd.backends.base import (
    Params,
    Rewind,
    RunEnd,
    RunInfo,
    StartOverError,
    Summary,
)
from asynclogd.contractbase import MediaContent
from asynclogd.samples import filled
from asynclogd.testing import Content, table
from tests.daemon.backends.cometworld import (
    archived,
    info,
    opened,
    packed,
    points,
    uploaded,
)
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.sigkill import SigkillContract

pytestmark = pytest.mark.sdk


class TestComet(SigkillContract):
    where = "asynclogd.backends.comet:CometBackend"
    many_names = 2500

    def read(self, run: RunInfo) -> Content:
        return points(uploaded(packed(run)))

    def read_media(self, run: RunInfo) -> MediaContent:
        sent = uploaded(packed(run)).uploads
        assert all(each.metadata for each in sent)
        return [(each.metadata["name"], int(each.params["step"]), each.data) for each in sent if each.metadata]


@pytest.mark.parametrize("names", [("\n",), ("a" * 101, "a" * 102), ("_0x5f_", "__0x5f_")])
def test_names_that_comet_would_change_are_spelt_otherwise(names: tuple[str, ...]):
    found = {spelt(name) for name in names}
    assert len(found) == len(names)
    assert all("\n" not in name and len(name) <= 100 for name in found)


@given(st.text(max_size=90))
def test_spelling_can_be_undone(name: str):
    if len(spelt(name)) < 100:
        assert meant(spelt(name)) == name


def test_the_end_of_a_run_makes_the_archive_that_comet_uploads(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run, workspace="lab", tags=("a", "b"))
    epochs = filled(["loss", "epoch"], [0, 1], np.array([[0.5, 0.0], [0.25, 1.0]]))
    backend.write([Params({"lr": 0.1, "text": "x" * 2000, "none": None, "nan": float("nan")}), epochs])
    backend.write([Summary({"best": 0.25}), RunEnd("failed")])
    position = backend.flush()
    backend.close("failed")
    server = archived(run, position)
    (experiment,) = server.experiments
    assert (experiment["projectName"], experiment["teamName"], experiment["offline"]) == ("digits", "lab", True)
    assert server.tags == ["a", "b"]
    assert [(each["metricName"], each["step"], each["epoch"]) for each in server.metrics] == [
        ("loss", 0, 0), ("epoch", 0, 0), ("loss", 1, 1), ("epoch", 1, 1),
    ]  # fmt: skip
    assert server.metrics[2]["timestamp"] == 1_700_000_000_100
    assert server.params == {"lr": 0.1, "text": "x" * 999 + "…", "none": None, "nan": "NaN"}
    assert server.others["Name"] == "run-1"
    assert server.others["best"] == 0.25
    assert server.others["asynclog/status"] == "failed"
    assert "the run ended: failed" in [state.get("error") for state in server.states]
    times = next(body for path, body in server.told if path.endswith("offline-metadata"))
    assert (times["startTimestamp"], times["endTimestamp"]) == (1_700_000_000_000, 1_700_000_000_100)


def test_a_resumed_run_has_its_archive_made_anew_without_what_it_ran_again(tmp_path: Path):
    store = Store()
    run = info(tmp_path, store)
    image = store.item("digits", "image", {"dataformats": "HW"}, step=7, image=np.zeros((4, 4), np.uint8))
    backend = opened(run)
    backend.write([table(["a"], range(8)), image, RunEnd("killed")])
    position = backend.flush()
    backend.close("killed")
    again = opened(run, position)
    later = table(["a"], range(5, 10), 1, generation=1)
    again.write([Rewind(5, 1), later, replace(image, generation=1), RunEnd("success")])
    reached = again.flush()
    again.close("success")
    server = archived(run, reached)
    first = table(["a"], range(8))
    assert points(server) == [("a", s, v[0]) for s, _, v in first.rows() if s < 5] + [
        ("a", s, v[0]) for s, _, v in later.rows()
    ]
    assert len(server.uploads) == 1
    assert server.others["asynclog/rewind/1"] == 5
    assert not [state for state in server.states if state.get("error")]
    with zipfile.ZipFile(run.own_dir / f"{reached['key']}.zip") as archive:
        assert sorted(Path(name).suffix for name in archive.namelist()) == [".json", ".json", ".png"]


def test_late_points_and_revisions_are_kept_and_the_revision_is_the_later(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a"], [5, 9]), table(["a"], [3, 5], 1)])
    first = table(["a"], [5, 9])
    backend.write([replace(table(["a"], [9], 2, revision=True), times=first.times[1:])])
    backend.write([RunEnd("success")])
    server = archived(run, backend.flush())
    assert [step for _, step, _ in points(server)] == [3, 5, 5, 9, 9]
    assert points(server)[-1][2] == table(["a"], [9], 2).values[0, 0]


def test_messages_that_are_gone_start_the_backend_over(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a"], range(3))])
    position = backend.flush()
    backend.close("")
    (run.own_dir / FOLDER / "messages.json").write_bytes(b"")
    with pytest.raises(StartOverError):
        opened(run, position)
    opened(run, None).flush()
