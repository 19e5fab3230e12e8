"""Which W&B run a run is, where its files are, and whether it is uploaded."""

from __future__ import annotations

import configparser
import netrc
import os
import re
import secrets
import shutil
import string
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlparse

import msgspec

from asynclog_proto import trackers
from asynclog_proto.errors import ConfigError
from asynclogd.backends._files import replace
from asynclogd.backends.base import PermanentError

DEFAULT_HOST = "https://api.wandb.ai"

_IDENTITY = "asynclog-run.json"
_ALPHABET = string.digits + string.ascii_lowercase
_ID_LENGTH = 8
_OTHERS_MAY_READ = 0o077
_FORBIDDEN = frozenset("/\\#?%:")

# The first would make the uploader a guest in someone else's wandb-core; the next three would hide what it says, and
# the last have it take a run for another one.
_NOT_ITS = frozenset({"WANDB_SERVICE", "WANDB_SILENT", "WANDB_QUIET", "WANDB_MODE", "WANDB_RUN_ID", "WANDB_RESUME"})

SYNC_STATE = ".syncstate"
"""What the name of W&B's uploader's own file beside a `.wandb` file ends with: behind which row of a run that was there
already it began. Without it, what is sent again would be put behind what was sent before."""

Mode = Literal["", "online", "offline", "disabled", "run", "shared", "dryrun"]
"""What WANDB_MODE may say; the last three are W&B's older names."""

_ONLINE = frozenset({"online", "run", "shared"})


class Identity(msgspec.Struct, frozen=True):
    """`id` names the run at W&B; `directory`, below the backend's own, is where its files begin."""

    id: str
    directory: str


@dataclass(frozen=True, slots=True)
class Login:
    """Where to upload to and as whom; `api_key` "": whatever W&B finds itself (netrc, an identity token)."""

    host: str
    api_key: str = ""

    def environment(self, base: Mapping[str, str], logs: Path) -> dict[str, str]:
        """The environment of the process that uploads. Keys are never in a command line."""
        own = {name: value for name, value in base.items() if name not in _NOT_ITS}
        own |= {"WANDB_BASE_URL": self.host, "WANDB_DIR": str(logs), "WANDB_ERROR_REPORTING": "false"}
        return own | ({"WANDB_API_KEY": self.api_key} if self.api_key else {})


def said(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """What W&B's variables say of options that are not `given`. Raises ConfigError for a mode that W&B has not.

    What init() names has those of its own process already (asynclog/trackerenv.py): these are for what a daemon is
    told by its own configuration.
    """
    variables = trackers.said("wandb", environment)
    found = {option: value for option, value in variables.items() if not given.get(option)}
    if "mode" in found and found["mode"] not in get_args(Mode):
        allowed = ", ".join(filter(None, get_args(Mode)))
        raise ConfigError(
            f"WANDB_MODE={found['mode']!r}, where the daemon runs: W&B has no such mode (allowed: {allowed})"
        )
    return found | ({"tags": tuple(found["tags"])} if "tags" in found else {})


def online(mode: str, host: str, credentials_file: str, environment: Mapping[str, str]) -> bool:
    """Whether it is to be uploaded: as `mode` says, else when there are credentials for the host."""
    if mode:
        return mode in _ONLINE
    given = credentials_file or environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE")
    return bool(given) or _netrc_knows(address(host, environment), environment)


def login(host: str, credentials_file: str, environment: Mapping[str, str]) -> Login:
    """How to log in. Raises PermanentError for a file of credentials that can't be used."""
    return Login(address(host, environment), _key_of(Path(credentials_file).expanduser()) if credentials_file else "")


def address(host: str, environment: Mapping[str, str]) -> str:
    """The server's base URL: the option's, WANDB_BASE_URL, what `wandb login --host` has kept, or W&B's own."""
    return (host or environment.get("WANDB_BASE_URL") or _host_kept(environment) or DEFAULT_HOST).rstrip("/")


def _host_kept(environment: Mapping[str, str]) -> str:
    directory = environment.get("WANDB_CONFIG_DIR") or Path(_home(environment), ".config", "wandb")
    kept = configparser.ConfigParser(interpolation=None)
    with suppress(configparser.Error, UnicodeDecodeError):  # no settings are kept, or none that can be read
        kept.read(Path(directory, "settings"))
    return kept.get("default", "base_url", fallback="")


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none


def _key_of(path: Path) -> str:
    try:
        mode, key = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"credentials_file {str(path)!r} can't be read: {error}") from error
    if mode & _OTHERS_MAY_READ:
        raise PermanentError(f"credentials_file {str(path)!r} may be read by others: chmod 600")
    return key


def _netrc_knows(host: str, environment: Mapping[str, str]) -> bool:
    home = _home(environment)
    files = [environment["NETRC"]] if environment.get("NETRC") else [f"{home}/.netrc", f"{home}/_netrc"]
    for path in files:
        with suppress(OSError, netrc.NetrcParseError):  # none there, or none that is one
            return urlparse(host).netloc in netrc.netrc(path).hosts
    return False


def identity(own_dir: Path, run_id: str) -> Identity:
    """The run's identity as it was kept, or a new one; `run_id` "": any. Raises PermanentError for one that W&B
    does not take.
    """
    if _FORBIDDEN & set(run_id):
        raise PermanentError(f"option 'id': {run_id!r} has one of / \\ # ? % : in it, which W&B takes in no id")
    path = own_dir / _IDENTITY
    with suppress(OSError, msgspec.DecodeError):  # none yet
        kept = msgspec.json.decode(path.read_bytes(), type=Identity)
        if run_id in ("", kept.id):
            return kept
    # No digest of the run's name: two people may have runs of one name in one project.
    made = run_id or "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    # As W&B calls them. Uploaded or not: what begins otherwise, `wandb sync` leaves out.
    found = Identity(made, f"offline-run-{time.strftime('%Y%m%d_%H%M%S')}-{made}")
    replace(path, [msgspec.json.encode(found)], fsync=False)
    return found


def run_directories(own_dir: Path, run_id: str) -> list[Path]:
    """Those that are there for the run."""
    ours = re.compile(rf"offline-run-\d+_\d+-{re.escape(run_id)}(\.\d+)?")
    return [path for path in own_dir.iterdir() if ours.fullmatch(path.name)]


def remove(directories: list[Path]) -> None:
    """Remove directories with all that is in them. Raises OSError."""
    for directory in directories:
        shutil.rmtree(directory)
