"""Each kind as W&B's SDK logs it and as we do, both read by W&B's own reader."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asynclogd.backends._wandbartifact import record
from asynclogd.backends._wandbmedia import MOST_BINS, shown
from asynclogd.backends.base import Item, Media, PermanentError, RunInfo
from asynclogd.backends.wandb import WandbBackend, WandbConfig
from asynclogd.media import forms
from asynclogd.testing import table
from tests.daemon.backends import wandbreader
from tests.daemon.backends.mediastore import Store

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (3, 20, 30), np.uint8)
CLIP = RNG.integers(0, 255, (1, 4, 3, 16, 16), np.uint8)
SOUND = (RNG.random((1, 500)) * 2 - 1).astype(np.float32)
COLUMNS, ROWS = ["class", "score"], [["a", 0.5], ["b", None]]
POINTS = RNG.random((1, 8, 3), np.float32)
COLORS = RNG.integers(0, 255, (1, 8, 3), np.uint8)
FACES = RNG.integers(0, 8, (1, 4, 3), np.int32)
PAGE = "<h1>ü</h1>"
DIGEST = base64.b64encode(hashlib.md5(b"weights", usedforsecurity=False).digest()).decode()

# The SDK is given the files that we wrote, or the same numbers.
PEER = """
import json, sys
from pathlib import Path
import numpy as np
import wandb
where = Path(sys.argv[1])
given = json.loads((where / "given.json").read_text())
settings = wandb.Settings(x_disable_stats=True, x_disable_meta=True, disable_git=True, console="off", silent=True)
with wandb.init(mode="offline", project="p", id="peer", dir=str(where), settings=settings) as run:
    run.log({
        "image": wandb.Image(str(where / given["image"]), caption="a cat"),
        "video": wandb.Video(str(where / given["video"]), format="gif"),
        "audio": wandb.Audio(str(where / given["audio"]), caption="a tone"),
        "html": wandb.Html(given["page"], inject=False),
        "histogram": wandb.Histogram(np_histogram=(given["counts"], given["bins"])),
        "table": wandb.Table(columns=given["columns"], data=given["rows"]),
        "cloud": wandb.Object3D(np.array(given["cloud"])),
        "step": 3,
    })
artifact = wandb.Artifact("best", "model")
artifact.add_file(str(where / given["image"]), name="a/b.ckpt")
(where / "digest").write_text(artifact.digest)
"""


def items(store: Store) -> dict[str, Media]:
    found = [
        store.item("image", "image", {"dataformats": "CHW", "caption": "a cat"}, 3, image=PICTURE),
        store.item("video", "video", {"fps": 4}, 3, video=CLIP),
        store.item("audio", "audio", {"sample_rate": 8000, "caption": "a tone"}, 3, audio=SOUND),
        store.item("html", "html", {}, 3, html=PAGE),
        store.item("histogram", "histogram", {"bins": 9}, 3, values=np.arange(100.0)),
        store.item("table", "table", {}, 3, table=json.dumps({"columns": COLUMNS, "rows": ROWS})),
        store.item("cloud", "mesh", {}, 3, vertices=POINTS, colors=COLORS),
    ]
    return {item.name: item for item in found}


def run_of(directory: Path, store: Store) -> RunInfo:
    own = directory / "run-1" / "wandb"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, read_blob=store.read)


def written(run: RunInfo, *media: Item, **options: Any) -> Path:
    """The file that they are in."""
    backend = WandbBackend(WandbConfig(mode="offline", **options))
    backend.open(run, None)
    backend.write(media)
    backend.flush()
    backend.close("")
    return wandbreader.file_of(run.own_dir)


def objects(file: Path) -> dict[str, Any]:
    """What the rows have under each name."""
    found: dict[str, Any] = {}
    for row in wandbreader.rows(file):
        for key, value in row.items():
            name, dot, inner = key.partition(".")
            if dot:  # the SDK spells a media object as nested keys
                found.setdefault(name, {})[inner] = value
            elif isinstance(value, dict):
                found[name] = value
    return found


def files(file: Path) -> list[str]:
    return [each["path"] for kind, told in wandbreader.told(file) if kind == "files" for each in told["files"]]


def content(file: Path, value: dict[str, Any]) -> bytes:
    return Path(file.parent, "files", value["path"]).read_bytes()


def without_places(value: dict[str, Any]) -> dict[str, Any]:
    """An object but for what differs by its nature: paths have random ids, and the SDK makes an artifact of a table."""
    return {key: part for key, part in value.items() if "path" not in key}


@pytest.mark.sdk
def test_media_are_the_objects_that_the_sdk_logs(tmp_path: Path):
    store = Store()
    ours = items(store)
    file = written(run_of(tmp_path, store), *ours.values())
    found = objects(file)
    given: dict[str, Any] = {name: f"{name}{Path(found[name]['path']).suffix}" for name in ("image", "video", "audio")}
    for name, path in given.items():
        (tmp_path / path).write_bytes(content(file, found[name]))
    given |= {"page": PAGE, "counts": found["histogram"]["values"], "bins": found["histogram"]["bins"]}
    given |= {"columns": COLUMNS, "rows": ROWS, "cloud": json.loads(content(file, found["cloud"]))}
    (tmp_path / "given.json").write_text(json.dumps(given))
    subprocess.run([sys.executable, "-c", PEER, str(tmp_path)], check=True, capture_output=True)
    (peer_file,) = tmp_path.glob("wandb/offline-run-*/run-peer.wandb")
    peer = objects(peer_file)
    assert set(peer) == set(found) == set(ours)
    for name, value in found.items():
        told, said = without_places(value), without_places(peer[name])
        if name in ("table", "cloud"):  # the same JSON, spelt with other spaces
            assert json.loads(content(file, value)) == json.loads(content(peer_file, peer[name]))
            for each in (told, said):
                del each["size"], each["sha256"]
        elif name != "histogram":
            assert content(file, value) == content(peer_file, peer[name])
        assert told == said | ({"width": 16, "height": 16} if name == "video" else {}), name
        if name != "histogram":
            assert Path(value["path"]).parent == Path(peer[name]["path"]).parent
            assert value["path"].partition(".")[2] == peer[name]["path"].partition(".")[2]
    assert set(files(file)) == {value["path"] for value in found.values() if "path" in value}
    checkpoint = store.item("best", "file", {"artifact": "a/b.ckpt", "type": "checkpoint"}, file=b"")
    whose = {"run_id": "abc", "project": "p", "entity": ""}
    assert record(checkpoint, tmp_path / given["image"], whose).digest == (tmp_path / "digest").read_text()


@pytest.mark.sdk
def test_what_wandb_has_no_object_for_is_a_file_of_the_run(tmp_path: Path):
    store = Store()
    (tmp_path / "model.ckpt").write_bytes(b"weights")
    file = written(
        run_of(tmp_path, store),
        store.item("emb", "embedding", {}, 1, matrix=RNG.random((4, 8)).astype(np.float32)),
        store.item("data", "file", {"path": "/a/../b/notes?.txt"}, 2, file=b"notes"),
        store.item("long", "file", {"artifact": "ü" * 120 + ".txt"}, 2, file=b"long"),
        store.item("last", "file", {"path": str(tmp_path / "model.ckpt")}, 3),
        store.item("empty", "file", {"path": str(tmp_path / "nothing")}, 3, file=b""),
    )
    found = {path.rpartition("/")[2]: (file.parent / "files" / path).read_bytes() for path in files(file)}
    assert found["notes_.txt"] == b"notes"
    assert found["model.ckpt"] == b"weights"
    assert found["nothing"] == b""
    assert found["ü" * 98 + ".txt"] == b"long"
    assert found["content.zip"].startswith(b"PK")
    assert not wandbreader.rows(file)


@pytest.mark.sdk
def test_checkpoints_are_artifacts_when_asked(tmp_path: Path):
    store = Store()
    (tmp_path / "epoch=1.ckpt").write_bytes(b"weights")
    about = {"path": str(tmp_path / "epoch=1.ckpt"), "artifact": "epoch=1.ckpt", "type": "checkpoint"}
    copied = store.item("copied", "file", {"artifact": "c.ckpt", "type": "checkpoint"}, 7, file=b"copied")
    other = store.item("other", "file", {"path": "/a/b"}, 7, file=b"x")
    media = [store.item("best", "file", about, 7), copied, other]
    first = written(run_of(tmp_path, store), *media, log_model=True, id="abc")
    artifacts = [told for kind, told in wandbreader.told(first) if kind == "artifact"]
    artifact, of_copied = artifacts
    assert (artifact["name"], artifact["type"], artifact["aliases"]) == ("best-abc", "model", ["latest", "step_7"])
    assert artifact["manifest"]["contents"] == [
        {"digest": DIGEST, "local_path": about["path"], "path": "epoch=1.ckpt", "size": "7"}
    ]
    assert [path.rpartition("/")[2] for path in files(first)] == ["b"]
    again = written(run_of(tmp_path, store), *media, log_model=True, id="abc")
    assert [told for kind, told in wandbreader.told(again) if kind == "artifact"] == artifacts
    kept = Path(of_copied["manifest"]["contents"][0]["local_path"])
    assert kept.read_bytes() == b"copied"
    assert first.parent not in kept.parents  # a rewind leaves that directory


def test_histograms_have_at_most_as_many_bins_as_wandb_shows():
    store, values = Store(), np.random.default_rng(1).normal(size=5000)
    item = store.item("h", "histogram", {"bins": "tensorflow"}, 0, values=np.append(values, [1e-11, 1e15]))
    assert item.options["n"] > MOST_BINS
    found = shown(item, store.read(item.blob), 0).value
    assert len(found["values"]) <= MOST_BINS
    assert len(found["bins"]) == len(found["values"]) + 1
    assert sum(found["values"]) == len(values) + 2
    assert found["bins"] == sorted(found["bins"])
    assert found["bins"][-1] >= 1e15


def test_a_mesh_with_faces_is_an_obj_whose_vertices_count_from_one():
    store = Store()
    item = store.item("m", "mesh", {}, 0, vertices=np.vstack([POINTS, POINTS]), faces=np.vstack([FACES, FACES]))
    found = shown(item, store.read(item.blob), 0)
    lines = found.content.decode().splitlines()
    assert [len([line for line in lines if line.startswith(kind)]) for kind in "vf"] == [16, 8]
    first, later = lines[16].split()[1:], lines[20].split()[1:]
    assert [int(each) - 1 for each in first] == FACES[0, 0].tolist()
    assert [int(each) - 9 for each in later] == FACES[0, 0].tolist()
    assert found.path.endswith(".obj")


def test_curves_are_tables():
    store = Store()
    curve = RNG.random((6, 10)).astype(np.float32)
    item = store.item("c", "pr_curve", {"num_thresholds": 10}, 0, curve=curve)
    table_of = json.loads(shown(item, store.read(item.blob), 0).content)
    assert table_of["columns"][-2:] == ["precision", "recall"]
    assert table_of["data"] == curve.T.tolist()


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("form", "options", "data"),
    [
        (forms.HISTOGRAM, {"n": 3}, b"short"),
        (forms.HISTOGRAM, {}, b""),
        (forms.PR_CURVE, {}, b"12345"),
        (forms.JSON, {}, b"[1]"),
        (forms.JSON, {}, b"{"),
        (forms.MESH, {"sections": ["vertices:float32:1,8,3"]}, b""),
        (forms.PNG, {}, b""),
    ],
)
def test_media_that_are_not_of_their_form_are_refused_for_good(tmp_path: Path, form: str, options: Any, data: bytes):
    store = Store()
    item = Media("x", 0, 1.7e9, "table", form, options, store.put(data))
    with pytest.raises(PermanentError, match="x: a blob that is not"):
        written(run_of(tmp_path, store), table(["a"], [0]), item)


@pytest.mark.sdk
def test_a_file_that_is_gone_and_a_run_without_a_store_are_refused(tmp_path: Path):
    store = Store()
    run = run_of(tmp_path, store)
    with pytest.raises(PermanentError, match="not there any more"):
        written(run, store.item("f", "file", {"path": str(tmp_path / "none")}))
    with pytest.raises(PermanentError, match="is a directory"):
        written(run, store.item("f", "file", {"path": str(tmp_path)}))
    with pytest.raises(PermanentError, match="no media store"):
        written(replace(run, read_blob=None), store.item("t", "text", {}, text="t"))
