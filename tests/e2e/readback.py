"""A run's points, parameters, picture and text, by each product's own reader."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from PIL import Image

from asynclogd.backends.base import RunInfo
from asynclogd.contractbase import ContractBase, MediaContent
from tests.daemon.backends import (
    cometworld,
    neptuneworld,
    parquetruns,
    swanlabruns,
    test_comet,
    test_contract,
    test_neptune,
    test_parquet,
    test_swanlab,
    test_trackio,
    test_wandb,
    trackioruns,
    wandbreader,
)
from tests.hparamstab import hparams_tab

READERS: dict[str, ContractBase] = {
    "comet": test_comet.TestComet(),
    "csv": test_contract.TestCsv(),
    "jsonl": test_contract.TestJsonl(),
    "mlflow": test_contract.TestMlflow(),
    "neptune": test_neptune.TestNeptune(),
    "parquet": test_parquet.TestParquetInDuckDB(),
    "swanlab": test_swanlab.TestSwanlab(),
    "tensorboard": test_contract.TestTensorBoard(),
    "trackio": test_trackio.TestTrackio(),
    "wandb": test_wandb.TestWandb(),
}


class Held(NamedTuple):
    """Parameters as the product has them; (step, pixels) and (step, text) of the media."""

    params: Mapping[str, Any]
    picture: tuple[int, bytes]
    note: tuple[int, str]


def _pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def _of(params: Mapping[str, Any], media: MediaContent) -> Held:
    found = {name: (step, data) for name, step, data in media}
    assert len(found) == len(media) == 2
    (at, picture), (then, note) = found["picture"], found["note"]
    return Held(params, (at, _pixels(picture)), (then, note.decode()))


def _tensorboard(run: RunInfo) -> Held:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run.own_dir), size_guidance={"images": 0, "tensors": 0})
    reader.Reload()
    (image,), (text,) = reader.Images("picture"), reader.Tensors("note/text_summary")
    (shown,) = hparams_tab(run.dir).values()
    note = text.tensor_proto.string_val[0].decode()
    return Held(shown[0], (image.step, _pixels(image.encoded_image_string)), (text.step, note))


def _csv(run: RunInfo) -> Held:
    params = yaml.safe_load((run.own_dir / "hparams.yaml").read_text())
    return _of(params, test_contract.TestCsv().read_media(run))


def _jsonl(run: RunInfo) -> Held:
    entries = map(json.loads, (run.own_dir / "points.jsonl").read_text().splitlines())
    (params,) = [entry["params"] for entry in entries if "params" in entry]
    return _of(params, test_contract.TestJsonl().read_media(run))


def _parquet(run: RunInfo) -> Held:
    rows = parquetruns.rows(run, "SELECT name, value, number FROM 'params.parquet'")
    params = {name: text if number is None else number for name, text, number in rows}
    return _of(params, test_parquet.TestParquetInPandas().read_media(run))


def _mlflow(run: RunInfo) -> Held:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{run.own_dir / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name(run.project).experiment_id])
    return _of(found.data.params, test_contract.TestMlflow().read_media(run))


def _comet(run: RunInfo) -> Held:
    sent = cometworld.uploaded(cometworld.packed(run))
    kinds = {"visualization": "picture", "text-sample": "note"}
    media = [(kinds[each.type], int(each.params["step"]), each.data) for each in sent.uploads]
    assert {each.params.get("figName") for each in sent.uploads} - {None} == {"picture"}
    return _of(sent.params, media)


def _neptune(run: RunInfo) -> Held:
    (found,) = neptuneworld.runs(run.own_dir)
    params = {path.removeprefix("params/"): value for path, value in found.single.items() if path.startswith("params/")}
    ((at, _, picture),), ((then, _, note),) = found.series["media/picture"], found.series["media/note"]
    files = {each.destination: Path(each.source_path) for each in found.files}
    return Held(params, (at, _pixels(files[picture.path].read_bytes())), (then, note))


def _wandb(run: RunInfo) -> Held:
    file = wandbreader.file_of(run.own_dir)
    (config,) = [content["update"] for kind, content in wandbreader.told(file) if kind == "config"]
    shown = {
        key: (int(row["step"]), (file.parent / "files" / value["path"]).read_bytes())
        for row in wandbreader.rows(file)
        for key, value in row.items()
        if isinstance(value, dict)
    }
    (at, picture), (then, page) = shown["picture"], shown["note"]
    return Held(config, (at, _pixels(picture)), (then, page.decode().removeprefix("<pre>").removesuffix("</pre>")))


def _trackio(run: RunInfo) -> Held:
    from trackio.utils import MEDIA_DIR

    shown = {name: (step, value) for name, step, value in trackioruns.rows(run) if isinstance(value, dict)}
    (at, picture), (then, note) = shown["picture"], shown["note"]
    data = (MEDIA_DIR / picture["file_path"]).read_bytes()
    return Held(test_trackio.listed(run).config, (at, _pixels(data)), (then, note["_value"]))


def _swanlab(run: RunInfo) -> Held:
    config = yaml.safe_load((run.own_dir / "files" / "config.yaml").read_bytes())
    params = {name: entry["value"] for name, entry in config.items()}
    media = [
        (each.key, each.step, (run.own_dir / "media" / kind / each.value.items[0].filename).read_bytes())
        for each in swanlabruns.accepted(run, "media")
        for kind in ["image" if each.key == "picture" else "text"]
    ]
    return _of(params, media)


HELD: dict[str, Callable[[RunInfo], Held]] = {
    "comet": _comet,
    "csv": _csv,
    "jsonl": _jsonl,
    "mlflow": _mlflow,
    "neptune": _neptune,
    "parquet": _parquet,
    "swanlab": _swanlab,
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
