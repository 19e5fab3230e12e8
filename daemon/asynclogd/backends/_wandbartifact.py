"""A checkpoint as an artifact of type `model`, as `run.log_artifact()` writes it. Source: wandb/sdk/artifacts and
sdk/interface/interface.py (_make_artifact).

The ids follow from the run and the file, so that one that is sent again is the same version of the same artifact.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asynclogd.backends._wandbmedia import stem
from asynclogd.backends.base import Media

_POLICY = "wandb-storage-policy-v1"
_LAYOUT = "V2"
_PIECE = 1 << 20
_MODELS = frozenset({"checkpoint", "model"})


def is_model(item: Media) -> bool:
    """Whether an item is a checkpoint."""
    return item.kind == "file" and item.options.get("type") in _MODELS


def record(item: Media, file: Path, run: Mapping[str, str]) -> Any:
    """An ArtifactRecord with one file. `run` has run_id, project and entity. Raises OSError."""
    from wandb.proto import wandb_internal_pb2

    digest = base64.b64encode(_md5(file)).decode()
    path = str(item.options.get("artifact") or file.name)
    whole = hashlib.md5(f"wandb-artifact-manifest-v1\n{path}:{digest}\n".encode(), usedforsecurity=False).hexdigest()
    name = f"{stem(item.name)}-{run['run_id']}"
    entry = {"path": path, "digest": digest, "size": file.stat().st_size, "local_path": str(file)}
    manifest = {
        "version": 1,
        "storage_policy": _POLICY,
        "storage_policy_config": [{"key": "storageLayout", "value_json": f'"{_LAYOUT}"'}],
        "contents": [entry],
    }
    return wandb_internal_pb2.ArtifactRecord(
        **run,
        type="model",
        name=name,
        digest=whole,
        client_id=_id(run["run_id"], name, str(item.step), whole),
        sequence_client_id=_id(run["run_id"], name),
        aliases=["latest", f"step_{item.step}"],
        manifest=manifest,
        user_created=True,
        finalize=True,
    )


def _md5(file: Path) -> bytes:
    found = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as source:
        while piece := source.read(_PIECE):
            found.update(piece)
    return found.digest()


def _id(*parts: str) -> str:
    """128 characters, as W&B's own."""
    return hashlib.sha512("\0".join(parts).encode()).hexdigest()
