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


def as_mapping(params: Any) -> Any:
    """Params as they are kept: a Namespace or dataclass becomes a dict, OmegaConf's containers stay."""
    if params is None:
        return {}
    if isinstance(params, Namespace):
        return vars(params)
    if is_dataclass(params) and not isinstance(params, type):
        return asdict(params)
    if isinstance(params, Mapping):
        return params
    raise TypeError(f"hyperparameters are a mapping, a Namespace or a dataclass, not {type(params).__name__}")


def merge(known: Any, params: Any) -> Any:
    """`known` with `params` over it; OmegaConf's once one of them is."""
    if _is_omegaconf(params) or _is_omegaconf(known):
        return sys.modules["omegaconf"].OmegaConf.merge(known, params)
    return {**known, **params}


def plain(params: Any) -> Any:
    """The same in dicts and lists, interpolations resolved where they can be."""
    if not _is_omegaconf(params):
        return params
    omegaconf = sys.modules["omegaconf"]
    try:
        return omegaconf.OmegaConf.to_container(params, resolve=True)
    except omegaconf.errors.OmegaConfBaseException:  # a value that is missing, say: no hyperparameter may raise
        return omegaconf.OmegaConf.to_container(params, resolve=False)


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
    saving.save_hparams_to_yaml(Path(directory, FILE), params)


def _is_omegaconf(value: object) -> bool:
    omegaconf = sys.modules.get("omegaconf")
    return omegaconf is not None and isinstance(value, omegaconf.Container)
