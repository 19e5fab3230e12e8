"""Hyperparameters of any make: merged over calls, flattened for the run, and hparams.yaml as Lightning writes it."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from asynclog._lightning.frameworks import PACKAGES

FILE = "hparams.yaml"


def as_mapping(params: Any) -> dict[str, Any]:
    """Params as they are kept: a dict, without OmegaConf's containers. Raises TypeError for what is no mapping."""
    params = plain(params)
    if params is None:
        return {}
    if isinstance(params, Namespace):
        return vars(params)
    if is_dataclass(params) and not isinstance(params, type):
        return {name: plain(value) for name, value in asdict(params).items()}
    if isinstance(params, Mapping):
        return {name: plain(value) for name, value in params.items()}
    raise TypeError(f"hyperparameters are a mapping, a Namespace or a dataclass, not {type(params).__name__}")


def plain(value: Any) -> Any:
    """The same with OmegaConf's containers, at any depth, as dicts and lists: interpolations are resolved now, while
    the config that they point into is there.
    """
    omegaconf = sys.modules.get("omegaconf")
    return value if omegaconf is None else _plain(value, omegaconf)


def _plain(value: Any, omegaconf: Any) -> Any:
    if isinstance(value, omegaconf.Container):
        return _resolved(value, omegaconf)
    if type(value) is dict:
        return {name: _plain(child, omegaconf) for name, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(child, omegaconf) for child in value)
    if type(value) is Namespace:
        return Namespace(**_plain(vars(value), omegaconf))
    return value


def _resolved(config: Any, omegaconf: Any) -> Any:
    try:
        return omegaconf.OmegaConf.to_container(config, resolve=True)
    except omegaconf.errors.OmegaConfBaseException:  # it points nowhere, say: no hyperparameter may raise
        return omegaconf.OmegaConf.to_container(config, resolve=False)


def unlisted(value: Any) -> Any:
    """Lists of mappings as mappings by index, since names are flattened: {"a": [{"b": 1}]} is a/0/b."""
    if isinstance(value, Namespace):
        value = vars(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: unlisted(child) for key, child in value.items()}
    if isinstance(value, list) and value and all(isinstance(child, Mapping) for child in value):
        return {at: unlisted(child) for at, child in enumerate(value)}
    return value


def write(directory: str, params: Any) -> None:
    """Write hparams.yaml by the function that Lightning's own loggers use; without Lightning's Trainer, nothing."""
    saving = next((module for name in PACKAGES if (module := sys.modules.get(f"{name}.core.saving"))), None)
    if saving is None:
        try:
            saving = importlib.import_module("lightning.pytorch.core.saving")
        except ModuleNotFoundError:  # Fabric alone
            return
    file = Path(directory, FILE)
    try:
        saving.save_hparams_to_yaml(file, params)
    except Exception as error:
        # Where OmegaConf is installed a text like "${x" breaks its grammar, in a plain dict too.
        if type(error).__module__.partition(".")[0] != "omegaconf":
            raise
        saving.save_hparams_to_yaml(file, params, use_omegaconf=False)
