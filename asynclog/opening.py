"""Opening a run: check everything, then make the run's ring, spool and sender."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asynclog import begun, bodies, keys, launch, ranks, resuming, ringplace, settings
from asynclog.bodies import Bodies
from asynclog.flatten import flatten
from asynclog.keys import ClientKeys
from asynclog.launcher import Launcher
from asynclog.mediaspool import MediaSpool
from asynclog.notices import Notices
from asynclog.process import RUNS
from asynclog.rhythm import Rhythm
from asynclog.ring import Ring
from asynclog.rows import Rows
from asynclog.run import Run
from asynclog.sender import Sender
from asynclog.settings import Settings
from asynclog.spool import Spool
from asynclog_proto import __version__, frames, places
from asynclog_proto.errors import AsynclogError, ConfigError
from asynclog_proto.frames import Hello
from asynclog_proto.frozen import frozen
from asynclog_proto.ringfile import HEADER, MAX_HELLO


@frozen
class Plan:
    """Everything that `init` decides before it touches the file system. `endpoint` is None unless it was given, and
    `keys` unless it is on another machine. `told` is for who reads warnings, "" for nothing.
    """

    hello: Hello
    settings: Settings
    mode: str
    endpoint: str | None
    run_dir: Path
    keys: ClientKeys | None = None
    told: str = ""

    @property
    def remote(self) -> bool:
        """Whether the run is on its daemon's machine, and this one's disk says nothing of it."""
        return self.endpoint is not None and places.is_remote(self.endpoint)


def open_run(
    project: str,
    name: str | None,
    config: Any,
    directory: Any,
    backends: Any,
    rank: int | None,
    world_size: int | None,
    endpoint: str | None,
    mode: str,
    *,
    strict: bool,
    resume: str | None = None,
    launch_id: str = "",
    ring_bytes: int | None = None,
) -> Run:
    """What `asynclog.init` does. A `launch_id` comes from an integration whose ranks have agreed on it; it also knows
    better than we whether the run is expected to exist. `ring_bytes` is the most that its ring takes.
    """
    notices = Notices()
    if resume is not None:
        name = resuming.named(name, resume)
    plan = _plan(project, name, directory, backends, rank, world_size, endpoint, mode, launch_id)
    if ring_bytes is not None:
        plan = replace(plan, settings=replace(plan.settings, ring_bytes=min(ring_bytes, plan.settings.ring_bytes)))
    if config is not None:
        flatten(config, lambda _: None)
    if plan.mode == "disabled":
        rows = Rows(Ring(mmap.mmap(-1, HEADER + 4096)), notices, bodies.nowhere(), strict=strict)
        rows.close("disabled")
        return _begin(plan, notices, rows, None, strict=strict)
    if plan.endpoint is None:
        places.endpoint(plan.settings.runtime)
    resuming.look_for_earlier(plan.hello, plan.run_dir, notices, resume, launch_id, remote=plan.remote)
    notices.say()  # where warnings are errors nothing has been begun
    run = _open(plan, notices, strict=strict, resumes=resume is not None)
    if config is not None:
        run.params(config)
    notices.say()
    if name is None and run.rank == 0:
        print(f"asynclog: logging to {run.dir}", file=sys.stderr)  # noqa: T201 - nobody could guess the name
    return run


def _plan(
    project: str,
    name: str | None,
    directory: Any,
    backends: Any,
    rank: Any,
    world_size: Any,
    endpoint: Any,
    mode: Any,
    launch_id: str,
) -> Plan:
    environ = os.environ
    chosen = settings.read(environ, os.getuid())
    mode = settings.check_mode("mode", mode)
    places.check_component("project", project)
    place = ranks.resolve(environ, rank, world_size)
    incarnation = os.urandom(8).hex()
    started = launch.identify(environ, place, incarnation)
    if launch_id:
        started = started._replace(id=launch_id)
    if name is None:
        what, name = ("ASYNCLOG_NAME", chosen.name) if chosen.name else ("name", started.name)
        places.check_component(what, name)
        name = RUNS.unique(project, name)
    places.check_component("name", name)
    root = settings.directory(directory, environ)
    run_dir = places.run_dir(root, project, name)
    address = endpoint or chosen.endpoint
    mode = chosen.mode if mode == "auto" else mode
    remote = address is not None and places.is_remote(places.check_endpoint(address))
    wanted, told = _backends(backends, environ, far=remote)
    hello = Hello(
        project=project,
        name=name,
        dir=root,
        rank=place.rank,
        world_size=place.world_size,
        incarnation=incarnation,
        launch=started.id,
        first_seq=0,
        pid=os.getpid(),
        host=os.uname().nodename,
        spool=str(places.spool_dir(run_dir, place.rank, incarnation)),
        backends=wanted,
        client=f"asynclog {__version__} (Python)",
        pid_namespace=places.pid_namespace(),
        pid_ticks=_own_ticks(),
    )
    _greeting(replace(hello, ring="x" * 300, outbox="x" * 300))
    found = keys.read(environ) if remote and mode == "auto" else None
    return Plan(hello, chosen, mode, address, run_dir, found, told)


def _own_ticks() -> int:
    try:
        return places.process_ticks(os.getpid())
    except OSError:  # not on Linux
        return 0


def _backends(given: Any, environ: Mapping[str, str], *, far: bool) -> tuple[Mapping[str, Any] | None, str]:
    """Those of the run, None for the daemon's own choice, and what to tell of them."""
    if given is None:
        return None, ""
    from asynclog import backends, trackerenv  # 2 ms of patterns, which most runs need not wait for

    return trackerenv.chosen(backends.check_backends(given), environ, places.current_directory(), far=far)


def _greeting(hello: Hello) -> bytes:
    allowed = f"None, bool, int, float, str, lists and mappings of these, in all {MAX_HELLO} bytes"
    try:
        (frame,) = frames.encode(hello)
    except (AsynclogError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"backends: options are {allowed}: {error}") from error
    if len(frame) > MAX_HELLO:
        raise ConfigError(f"backends: options are {allowed}, not {len(frame)}")
    return bytes(frame)


def _open(plan: Plan, notices: Notices, *, strict: bool, resumes: bool) -> Run:
    def tell(text: str) -> None:
        notices.add(text, text)

    if plan.told and plan.hello.rank == 0:
        tell(plan.told)
    runtime = _runtime(plan)
    rings = [_ring_path(plan, parent) for parent in (runtime, plan.run_dir)]
    _check_writable(plan.run_dir, notices, strict=strict)
    begun.note(plan.run_dir, plan.hello.incarnation)
    try:
        ringplace.private_dir(runtime)
        ringplace.private_dir(runtime / "rings")
    except OSError as error:
        tell(f"can't use the runtime directory {runtime}: {error.strerror or error}")
        rings = rings[1:]
    file = ringplace.create(rings, plan.settings.ring_bytes, lambda path: _greeting(_placed(plan, path)), tell)
    hello = _placed(plan, str(file.path or ""))
    spool = Spool(Path(hello.spool), _greeting(hello), plan.settings.spool_bytes, tell)
    launcher = None
    if plan.mode == "auto":
        address = plan.endpoint or places.endpoint(runtime)
        launcher = Launcher(address, runtime, spawns=plan.endpoint is None, tell=notices.add, keys=plan.keys)
    media = Bodies(
        Path(hello.outbox) if hello.outbox else None,
        plan.settings.media_bytes,
        MediaSpool(Path(hello.spool), plan.settings.media_spool_bytes, tell),
        tell,
        far=plan.keys is not None,
    )
    rows = Rows(Ring(file.mapping), notices, media, strict=strict)
    rhythm = Rhythm(plan.settings.flush_s, plan.settings.busy_flush_s, os.cpu_count() or 1)
    sender = Sender(rows, file, spool, hello, launcher, notices, rhythm)
    RUNS.install()
    try:
        sender.start()
    except RuntimeError:  # no more threads: nothing would ever empty the ring
        file.remove()
        raise
    if resumes:
        resuming.count_on(rows, sender, notices)
        if plan.remote and hello.rank == 0:
            resuming.tell_of_none(hello, plan.endpoint, sender, notices)
    return _begin(plan, notices, rows, sender, strict=strict)


def _placed(plan: Plan, ring: str) -> Hello:
    """The greeting of a stream whose ring is at `ring`, its outbox beside it; none offline, where nobody frees it."""
    has_outbox = ring and plan.mode == "auto" and plan.settings.media_bytes and plan.keys is None
    return replace(plan.hello, ring=ring, outbox=str(Path(ring).with_suffix(".outbox")) if has_outbox else "")


def _begin(plan: Plan, notices: Notices, rows: Rows, sender: Sender | None, *, strict: bool) -> Run:
    run = Run(
        project=plan.hello.project,
        name=plan.hello.name,
        directory=plan.run_dir,
        rank=plan.hello.rank,
        world_size=plan.hello.world_size,
        mode=plan.mode,
        strict=strict,
        rows=rows,
        notices=notices,
        sender=sender,
    )
    RUNS.add(run)
    return run


def _runtime(plan: Plan) -> Path:
    """Where the rings go: beside the daemon's socket, when that directory is there, else the default one."""
    if plan.endpoint is not None and not plan.remote:
        beside = places.runtime_of(plan.endpoint)
        try:
            places.check_private(beside, os.lstat(beside), os.getuid())
        except (OSError, AsynclogError):
            return plan.settings.runtime
        return beside
    return plan.settings.runtime


def _ring_path(plan: Plan, parent: Path) -> Path:
    return places.ring_path(parent / "rings", plan.run_dir, plan.hello.rank, plan.hello.incarnation)


def _check_writable(run_dir: Path, notices: Notices, *, strict: bool) -> None:
    """The spool needs the run's directory; the daemon may run where it is writable, so this is no error."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if os.access(run_dir, os.W_OK | os.X_OK):
            return
        reason = "it is not writable"
    except OSError as error:
        reason = error.strerror or str(error)
    text = f"the run's directory {run_dir}: {reason}. Nothing can be spooled there if the daemon is away"
    if strict:
        raise ConfigError(text)
    notices.add("directory", text)
