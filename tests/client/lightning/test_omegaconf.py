"""Hyperparameters from OmegaConf, as Hydra gives them: hparams.yaml is CSVLogger's, the run has the resolved values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client.lightning.modules import MARKS, AsyncLogger, loader, module_class, trainer

import omegaconf  # isort: skip  # after what skips the file where there is no Lightning

pytestmark = MARKS


class Mode(Enum):
    FAST = 1


@dataclass
class Optimizer:
    lr: float = 0.1
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    mode: Mode = Mode.FAST


def config(**more: Any) -> Any:
    made = {"base": {"lr": 0.1, "width": 4}, "opt": {"lr": "${base.lr}", "name": "sgd-${base.width}"}}
    lists = {"layers": ["${base.width}", {"out": "${.in}", "in": 2}], "none": None}
    return omegaconf.OmegaConf.create({**made, **lists, **more})


RESOLVED = {
    "base": {"lr": 0.1, "width": 4}, "opt": {"lr": 0.1, "name": "sgd-4"}, "layers": [4, {"in": 2, "out": 2}],
    "none": None,
}  # fmt: skip


def written(logger: Any, *several: Any) -> str:
    for params in several:
        logger.log_hyperparams(params)
    logger.save()
    logger.finalize("success")
    return Path(logger.log_dir, "hparams.yaml").read_text()


@pytest.mark.parametrize(
    "several",
    [
        (config(),),
        ({"cfg": config(), "seed": 1, "model": config().opt},),
        (omegaconf.OmegaConf.structured(Optimizer),),
        (config(), {"seed": 1}, omegaconf.OmegaConf.create({"opt": {"name": "adam"}})),
        (omegaconf.OmegaConf.create({}),),
    ],
    ids=["a config", "configs in a dict", "structured", "over several calls", "empty"],
)
def test_the_file_is_csvloggers(several: tuple[Any, ...], tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    ours, theirs = (written(kind(tmp_path / kind.__name__), *several) for kind in (AsyncLogger, CSVLogger))
    assert ours == theirs


def test_interpolations_are_resolved_in_the_file_and_in_the_run(tmp_path: Path) -> None:
    """Also in a list, and in a part of a config that points out of it."""
    logger = AsyncLogger(tmp_path, backends=["jsonl"])
    whole = config(later="???")
    text = written(logger, {"all": whole, "list": whole.layers, "part": [whole.opt]})
    wanted = {"all": {**RESOLVED, "later": "???"}, "list": RESOLVED["layers"], "part": [RESOLVED["opt"]]}
    assert yaml.safe_load(text) == wanted
    lines = map(json.loads, Path(logger.log_dir, "points.jsonl").read_text().splitlines())
    (params,) = (line["params"] for line in lines if "params" in line)
    assert {name: params[name] for name in ("all/opt/lr", "all/opt/name", "all/later", "part/0/name")} == {
        "all/opt/lr": 0.1, "all/opt/name": "sgd-4", "all/later": "???", "part/0/name": "sgd-4",
    }  # fmt: skip
    assert params["list"] == "[4, {'out': 2, 'in': 2}]"


def test_a_module_that_saves_a_config_trains(tmp_path: Path) -> None:
    model = module_class()(optimizer=config())
    made = trainer(AsyncLogger(tmp_path), max_epochs=1)
    made.fit(model, loader(), loader(16))
    assert yaml.safe_load(Path(made.log_dir, "hparams.yaml").read_text())["optimizer"] == RESOLVED


@pytest.mark.parametrize("text", ["${nowhere}", "${env:X", "${x.${y}"])
def test_what_cannot_be_resolved_stays_as_it_is(text: str, tmp_path: Path) -> None:
    """In a config and in a plain dict: no hyperparameter stops a training."""
    params = {"plain": text}
    if text == "${nowhere}":
        params = {"cfg": config(broken=text), **params}
    found = yaml.safe_load(written(AsyncLogger(tmp_path), params))
    assert found["plain"] == text
    assert found.get("cfg", {"broken": text})["broken"] == text


def test_the_config_is_left_as_it_was(tmp_path: Path) -> None:
    whole = config()
    omegaconf.OmegaConf.set_readonly(whole, True)
    omegaconf.OmegaConf.set_struct(whole, True)
    logger = AsyncLogger(tmp_path)
    written(logger, whole, {"more": 1}, whole)
    assert whole == config()
    assert omegaconf.OmegaConf.to_container(whole) == omegaconf.OmegaConf.to_container(config())


def test_a_list_is_no_mapping_here_either(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="hyperparameters are a mapping"):
        AsyncLogger(tmp_path).log_hyperparams(config().layers)
