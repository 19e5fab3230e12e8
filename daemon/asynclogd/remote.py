"""What a peer on another machine may ask: to log. Its key is a way in for records, not for this user's account.

Files of ours, code, addresses to send to and the daemon's own life stay with who is on this machine: a path in a Hello
would have us read and remove files, a backend's class is code, a URL would be sent what is in our environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asynclog_proto import places
from asynclog_proto.errors import AsynclogError
from asynclog_proto.frames import AddBackend, Hello, Message, Query

Backends = Mapping[str, Mapping[str, Any]]


class NotFromAfarError(AsynclogError):
    """Somebody on another machine asks for what only this one's user may."""


def restrict(message: Message, root: Path, backends: Backends) -> Message:
    """The message as it may come from a network; runs lie under `root`, and backends have the options that the daemon's
    configuration gives them. Raises NotFromAfarError.
    """
    if isinstance(message, AddBackend) or (isinstance(message, Query) and message.what != "status"):
        raise NotFromAfarError("this is only done for who is on the daemon's own machine")
    if not isinstance(message, Hello):
        return message
    run = places.run_dir(message.dir, message.project, message.name)
    if not Path(os.path.realpath(run)).is_relative_to(os.path.realpath(root)):
        raise NotFromAfarError(f"runs of other machines lie under {root} (daemon.remote_dir), not in {message.dir}")
    return replace(message, ring="", spool="", outbox="", backends=_backends(message.backends, backends))


def _backends(asked: Mapping[str, Any] | None, configured: Backends) -> Mapping[str, Any] | None:
    if asked is None:
        return None
    for name, options in asked.items():
        if options and options != configured.get(name):
            raise NotFromAfarError(
                f"backend {name!r}: its options are not taken from another machine: put them into the configuration of "
                f"the daemon, as [backends.{name}]"
            )
    return {name: configured.get(name, {}) for name in asked}
