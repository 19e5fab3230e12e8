"""Settings of the daemon: TOML, then ASYNCLOG_* of the environment, then flags; frozen and typed once merged.

[daemon]                       ASYNCLOG_DAEMON_DURABILITY=fsync
durability = "process"
[host_metrics]                 ASYNCLOG_HOST_METRICS_ENABLED=false
enabled = true
[prometheus]                   ASYNCLOG_PROMETHEUS_ENABLED=true
enabled = true
[retention]                    ASYNCLOG_RETENTION_OLDER_THAN=30d
older_than = "30d"
[backends.tensorboard]         which backends a run gets when its init() names none, and their options
rate_limit = { "train/*" = 10 }
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from asynclog_proto.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]

DEFAULT_BACKENDS: Mapping[str, Mapping[str, Any]] = {"tensorboard": {}, "csv": {}}


class DaemonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The daemon itself. Times in seconds, sizes in MiB."""

    durability: Literal["process", "fsync"] = "process"
    """what an ack survives: any process's death, or power loss too"""
    log_format: Literal["text", "json"] = "text"
    """of the log, which goes to stderr: a line an incident"""
    idle_timeout: Seconds = 60.0
    """an auto-started daemon ends after so long without a live rank or anything to deliver"""
    linger_timeout: Seconds = 3600.0
    """... and after so long without a live rank even if a backend still refuses its share"""
    drain_timeout: Seconds = 10.0
    """how long a stop may take to flush the backends"""
    silence_timeout: Positive = 30.0
    """a rank without a ring that says nothing for so long counts as dead"""
    join_deadline: Seconds = 5.0
    """ranks of the world that have not said hello are waited for so long"""
    step_deadline: Positive = 30.0
    """an open step closes after so long, with the ranks that it has"""
    commit_interval: Seconds = 0.02
    """rows wait so long for those of other ranks, to share a commit of the journal"""
    flush_interval: Positive = 0.05
    """local backends are flushed so often"""
    credit_mb: Count = 256
    """unacked bytes that all streams may have in flight together"""
    media_workers: Count = 2
    """processes that encode images and the like, of all runs together"""
    media_seconds: Positive = 30.0
    """an item that takes longer to encode is refused"""
    media_memory_mb: Count = 1536
    """... and one that takes more memory"""
    max_runs: Count = 1000
    max_streams: Count = 4096
    max_names: Count = 1_000_000
    """different names that a run's ranks may log; values of further ones are dropped"""
    max_journal_mb: Count = 102_400
    """of a run's journal; at it what ranks log waits with them, as it does for a full disk"""
    max_connections: Count = 8192
    """connections to each endpoint at once; less where the system allows fewer file descriptors"""
    bind: str = ""
    """tcp://HOST:PORT to listen on a network too; needs keys, see docs/security.md"""
    remote_dir: str = ""
    """runs of ranks that come in there must lie under it; "" is where the daemon was started"""


class HostMetrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """CPU, memory, disk, network and GPUs of the node, sampled once a node."""

    enabled: bool = True
    interval: Positive = 10.0


class Prometheus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`/metrics` over HTTP: the last reduced values and the daemon's own state. Whoever reaches the port may read."""

    enabled: bool = False
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9464
    """0: a free one, which the log and the status tell"""
    host: str = "127.0.0.1"


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `asynclog gc` removes when it is not told, as its options have it; "" is no limit. A daemon does nothing."""

    older_than: str = ""
    """30d, 12h"""
    keep_size: str = ""
    """50G"""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings."""

    daemon: DaemonSettings = DaemonSettings()
    host_metrics: HostMetrics = HostMetrics()
    prometheus: Prometheus = Prometheus()
    retention: Retention = Retention()
    backends: dict[str, dict[str, Any]] = msgspec.field(
        default_factory=lambda: {name: dict(options) for name, options in DEFAULT_BACKENDS.items()}
    )


_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "daemon": DaemonSettings,
    "host_metrics": HostMetrics,
    "prometheus": Prometheus,
    "retention": Retention,
}


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Mapping[str, Any]]) -> Config:
    """Merge file, environment and flags. Raises ConfigError naming the place, the key and what is allowed.

    `flags` maps a section to its keys; a value of None is not set.
    """
    merged = _read_file(path) if path is not None else {}
    source = str(path) if path is not None else "configuration"
    config = _convert(merged, source, strict=True)
    for origin, layer in (("environment", _from_environ(environ)), ("command line", flags)):
        for section, values in layer.items():
            table = merged.setdefault(section, {})
            table.update({key: value for key, value in values.items() if value is not None})
        config = _convert(merged, origin, strict=False)
    return config


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:  # ValueError: no TOML, no UTF-8, a number of thousands of digits
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: lists or tables are nested too deep") from error


def _from_environ(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    layer: dict[str, dict[str, Any]] = {}
    for variable, value in environ.items():
        for section, struct in _SECTIONS.items():
            prefix = f"ASYNCLOG_{section.upper()}_"
            if not variable.startswith(prefix):
                continue
            key = variable[len(prefix) :].lower()
            if key not in struct.__struct_fields__:
                raise ConfigError(f"environment: {variable}: {_unknown(key, struct)}")
            layer.setdefault(section, {})[key] = value
    return layer


def _convert(merged: Mapping[str, Any], source: str, *, strict: bool) -> Config:
    try:
        return msgspec.convert(merged, Config, strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {explain(str(error), Config)}") from error
    except UnicodeEncodeError as error:  # a variable may hold any bytes
        raise ConfigError(f"{source}: a value is not UTF-8: {error.object!a}") from error


def explain(message: str, root: type[msgspec.Struct]) -> str:
    """Msgspec's message with the key first and what is allowed there."""
    text, _, where = message.partition(" - at `$")
    path = [part for part in re.sub(r"\[[^]]*\]", "", where.rstrip("`")).split(".") if part]
    struct: Any = root
    annotation: Any = None
    for part in path:
        annotation = _annotations(struct).get(part)
        struct = annotation if isinstance(annotation, type) else None
    if "unknown field" in text and struct is not None:
        key = text.split("`")[1]
        return f"{'.'.join([*path, key])}: {_unknown(key, struct)}"
    allowed = f" (allowed: {_describe(annotation)})" if annotation is not None else ""
    return f"{'.'.join(path) or 'top level'}: {text}{allowed}"


def _annotations(struct: Any) -> dict[str, Any]:
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        return {}
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def _describe(annotation: Any) -> str:
    if getattr(annotation, "__origin__", None) is Literal:
        return ", ".join(repr(choice) for choice in annotation.__args__)
    if meta := getattr(annotation, "__metadata__", None):
        bounds = {"ge": ">=", "gt": ">", "le": "<="}
        limit = " and ".join(
            f"{sign} {getattr(meta[0], name):g}" for name, sign in bounds.items() if getattr(meta[0], name) is not None
        )
        return f"{annotation.__origin__.__name__} {limit}"
    return getattr(annotation, "__name__", str(annotation))


def _unknown(key: str, struct: type[msgspec.Struct]) -> str:
    close = difflib.get_close_matches(key, struct.__struct_fields__, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"there is no such key{hint} (allowed: {', '.join(struct.__struct_fields__)})"
