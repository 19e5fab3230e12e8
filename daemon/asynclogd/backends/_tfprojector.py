"""Embeddings as TensorBoard's projector reads them: files in `<step>/<tag>/`, named by projector_config.pbtxt.

Source: SummaryWriter.add_embedding in torch/utils/tensorboard/writer.py. Every write replaces a file whole, and an
entry of the same tensor: an embedding that is offered again changes nothing. So no position has to know of these files.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

from asynclogd.backends._files import replace
from asynclogd.backends.base import Media, PermanentError

_CONFIG = "projector_config.pbtxt"
_FILES = ("tensors.tsv", "metadata.tsv", "sprite.png")
_LONGEST = 200
"""Bytes of a directory's name; file systems take 255."""

_MOST_UNPACKED = 1 << 30


def place(directory: Path, item: Media, data: bytes, *, fsync: bool) -> None:
    """Put an embedding's files there and enter it. Raises OSError; PermanentError when `data` is no embedding."""
    files = _unpacked(item, data)
    subdir = f"{str(item.step).zfill(5)}/{subdirectory(item.name)}"
    folder = directory / subdir
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        replace(folder / name, [content], fsync=fsync)
    config = _read(directory)
    info = _entry(config, f"{item.name}:{str(item.step).zfill(5)}".encode("utf-8", "replace").decode())
    info.tensor_path = f"{subdir}/tensors.tsv"
    if "metadata.tsv" in files:
        info.metadata_path = f"{subdir}/metadata.tsv"
    if "sprite.png" in files:
        info.sprite.image_path = f"{subdir}/sprite.png"
        info.sprite.single_image_dim.extend(item.options.get(f"sprite_{side}", 0) for side in ("width", "height"))
    _write(directory, config, fsync=fsync)


def forget(directory: Path, step: int, *, fsync: bool) -> None:
    """Take out the entries of that step and later ones, which come again. Their files stay, and are replaced then."""
    if not (directory / _CONFIG).exists():
        return
    config = _read(directory)
    kept = [info for info in config.embeddings if _step_of(info) < step]
    if len(kept) < len(config.embeddings):
        del config.embeddings[:]
        config.embeddings.extend(kept)
        _write(directory, config, fsync=fsync)


def subdirectory(tag: str) -> str:
    """A tag as one directory's name: %, / and \\ spelt as SummaryWriter does, and what no directory may be called."""
    name = tag.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c").replace("\0", "%00")
    if name in ("", ".", ".."):
        return name.replace(".", "%2e") or "%"
    spelt = name.encode("utf-8", "replace")
    if len(spelt) <= _LONGEST:
        return spelt.decode()
    return f"{spelt[:_LONGEST].decode('utf-8', 'ignore')}-{hashlib.blake2b(spelt, digest_size=8).hexdigest()}"


def _unpacked(item: Media, data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = [info for info in archive.infolist() if info.filename in _FILES]
            if sum(info.file_size for info in found) > _MOST_UNPACKED:
                raise PermanentError(f"{item.name}: an embedding of more than {_MOST_UNPACKED >> 20} MiB")
            files = {info.filename: archive.read(info) for info in found}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise PermanentError(f"{item.name}: a blob that is no embedding: {error}") from error
    if "tensors.tsv" not in files:
        raise PermanentError(f"{item.name}: an embedding without tensors.tsv")
    return files


def _read(directory: Path) -> Any:
    """The configuration that is there; an empty one in place of one that can't be read."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    try:
        return text_format.Parse((directory / _CONFIG).read_text("utf-8"), ProjectorConfig())
    except (FileNotFoundError, UnicodeDecodeError, text_format.ParseError):
        return ProjectorConfig()


def _write(directory: Path, config: Any, *, fsync: bool) -> None:
    from google.protobuf import text_format

    replace(directory / _CONFIG, [text_format.MessageToString(config).encode()], fsync=fsync)


def _entry(config: Any, tensor: str) -> Any:
    """The tensor's entry, empty but for its name: the one that it has, or a new one."""
    for info in config.embeddings:
        if info.tensor_name == tensor:
            info.Clear()
            info.tensor_name = tensor
            return info
    return config.embeddings.add(tensor_name=tensor)


def _step_of(info: Any) -> int:
    """-1 for an entry that somebody else made."""
    step = info.tensor_name.rpartition(":")[2]
    return int(step) if step.removeprefix("-").isdecimal() else -1
