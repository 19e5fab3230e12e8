"""Random faults, one after the other, for as long as one likes: `make soak MINUTES=10 SEED=1`.

    python -m tests.faults.soak [--minutes M | --kills N] [--seed S]

Ranks log a function of the step in runs of their own while the daemon is killed, stopped, refused its disk and
pestered, and ranks are killed. In the end every run must hold each step whose log() returned, once, its ledger account
for them, and memory, descriptors and disk have stayed below the caps here. The seed makes the order of faults again;
when each strikes depends on the machine too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
from rich.console import Console

from asynclog_proto import frames, places
from tests.conftest import has_ended
from tests.daemon.peers import asked, dealer, raw
from tests.e2e.balance import expect_balanced
from tests.e2e.daemons import daemon_pid, peak_mb, sync
from tests.e2e.oracle import expect_each_once, expect_unblocked, returned, value

WORKER = Path(__file__).parent.parent / "e2e" / "worker.py"
RANKS = 2
START_S = 60.0
END_S = 120.0

MOST_MB = 250.0
MOST_DESCRIPTORS = 200
MOST_BYTES = 256
"""Of disk for each value of a run, in its journal and both file backends,"""
MOST_BYTES_A_RUN = 512 << 10
"""and for a run that has none."""


class Soak:
    """The processes of a soak in `directory`; its daemon's place is $ASYNCLOG_RUNTIME_DIR."""

    def __init__(self, directory: Path, runtime: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.peak_mb = 0.0
        self.descriptors = 0
        self.bytes_a_value = 0.0
        self._directory = directory
        self._runtime = runtime
        self._until = directory / "enough"
        self._log = (directory / "output.log").open("a")
        self._runs: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._living: list[int] = []
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._start_daemon()
        for _ in range(RANKS):
            self._start_rank()

    # ---- processes ------------------------------------------------------------------------------------------------

    def _start(self, *command: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *map(str, command)], stdout=self._log, stderr=subprocess.STDOUT)

    def _start_daemon(self) -> None:
        """Where a rank was faster, its daemon is the one, and this one ends."""
        self._daemons.append(self._start("-m", "asynclogd", "daemon", "--no-host-metrics"))
        end = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > end:
                raise AssertionError(f"no daemon answers: see {self._log.name}")

    @property
    def _daemon(self) -> psutil.Process:
        return psutil.Process(daemon_pid(self._runtime))

    def _kill_daemon(self) -> None:
        self._measure()
        daemon = self._daemon
        daemon.kill()
        _await_end(daemon)

    def _answers(self) -> bool:
        with contextlib.suppress(Exception), dealer(places.endpoint(self._runtime)) as peer:
            return isinstance(asked(peer, frames.Query(), 1), frames.Report)
        time.sleep(0.02)
        return False

    def _start_rank(self) -> None:
        name = f"run-{len(self._runs)}"
        options = ("--name", name, "--period", 0.001, "--until", self._until, "--endless")
        self._living.append(len(self._runs))
        self._runs.append((name, self._start(WORKER, self._directory, *options)))

    def _measure(self) -> None:
        daemon = self._daemon
        self.peak_mb = max(self.peak_mb, peak_mb(daemon.pid))
        self.descriptors = max(self.descriptors, daemon.num_fds())

    # ---- faults ---------------------------------------------------------------------------------------------------

    def kill_daemon(self) -> None:
        """SIGKILL, and another one is started."""
        self._kill_daemon()
        self._start_daemon()

    def kill_rank(self) -> None:
        """SIGKILL; a rank of another run takes its place."""
        number = self._living.pop(self.chance.randrange(len(self._living)))
        self._runs[number][1].kill()
        self._runs[number][1].wait()
        self._start_rank()

    def kill_both(self) -> None:
        """The two at once."""
        self._kill_daemon()
        self.kill_rank()
        self._start_daemon()

    def stop_daemon(self) -> None:
        """SIGSTOP for a moment."""
        daemon = self._daemon
        daemon.suspend()
        time.sleep(self.chance.uniform(0.1, 3))
        daemon.resume()

    def fill_disk(self) -> None:
        """No file of the daemon's may grow, for a moment."""
        pid = self._daemon.pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, limits[1]))
        time.sleep(self.chance.uniform(0.1, 1))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    def pester(self) -> None:
        """Noise at the daemon's door."""
        for _ in range(20):
            with raw(self._runtime) as connection, contextlib.suppress(OSError):
                connection.sendall(self.chance.randbytes(self.chance.randrange(1, 10_000)))

    # ---- the whole ------------------------------------------------------------------------------------------------

    def strike(self, kinds: tuple[str, ...]) -> None:
        """One fault of these, after a random moment."""
        time.sleep(self.chance.uniform(0, 0.5))
        kind = self.chance.choice(kinds)
        getattr(self, kind)()
        self.faults[kind] += 1
        self._measure()

    def settle(self) -> dict[str, float]:
        """Let everything arrive and check it; the figures. Raises AssertionError, with the run's name, for a loss."""
        self._await_more()
        self._until.touch()
        for number in self._living:
            assert self._runs[number][1].wait(300) == 0, f"a rank failed: see {self._log.name}"
        self._measure()
        daemon = self._daemon
        daemon.terminate()
        _await_end(daemon)
        sync(self._directory)
        issued, disk, slowest = 0, 0, 0.0
        for number, (name, _) in enumerate(self._runs):
            steps = returned(self._directory / f"returned-{name}-0") + 1
            if not steps:
                continue  # killed before its first log() returned
            run = self._directory / "p" / name
            killed = number not in self._living
            expect_each_once(run, "loss", {step: value(0, step) for step in range(steps)}, killed)
            expect_balanced(run, steps, killed)
            issued += steps
            disk += bytes_of(run)
            if not killed:
                slowest = max(slowest, expect_unblocked(self._directory, name))
        self._expect_flat(issued, disk)
        return {"issued": issued, "lost": 0, "doubled": 0, "log_p999_us": slowest, "memory_mb": self.peak_mb}

    def _await_more(self) -> None:
        """After the last fault, records that the ranks log from then on get through too."""
        files = [self._directory / f"returned-{self._runs[number][0]}-0" for number in self._living]
        wanted = [returned(file) + 100 for file in files]
        end = time.monotonic() + START_S
        while not all(returned(file) >= step for file, step in zip(files, wanted, strict=True)):
            assert time.monotonic() < end, f"a rank logs no more: see {self._log.name}"
            time.sleep(0.01)

    def _expect_flat(self, values: int, disk: int) -> None:
        assert self.peak_mb < MOST_MB
        assert self.descriptors < MOST_DESCRIPTORS
        assert disk < MOST_BYTES * values + MOST_BYTES_A_RUN * len(self._runs), f"{disk} bytes for {values} values"
        assert list((self._runtime / "rings").iterdir()) == []
        self.bytes_a_value = disk / values

    def close(self) -> None:
        """End what is left."""
        processes = [*self._daemons, *(process for _, process in self._runs)]
        with contextlib.suppress(psutil.NoSuchProcess):
            self._daemon.kill()
        for process in processes:
            process.kill()
            process.wait()
        self._log.close()


def _await_end(process: psutil.Process) -> None:
    """One that a rank has started stays a zombie until that rank looks at it."""
    end = time.monotonic() + END_S
    while not has_ended(process):
        if time.monotonic() > end:
            raise AssertionError(f"the daemon {process.pid} does not end")
        time.sleep(0.01)


def bytes_of(directory: Path) -> int:
    """Of all files in it."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


KINDS = ("kill_daemon", "kill_daemon", "kill_rank", "kill_both", "stop_daemon", "fill_disk", "pester")


@contextlib.contextmanager
def soaking(directory: Path, runtime: Path, seed: int) -> Iterator[Soak]:
    """A soak, whose processes are ended with the block."""
    soak = Soak(directory, runtime, seed)
    try:
        yield soak
    finally:
        soak.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kills", type=int, help="kill the daemon so often, and do nothing else")
    parser.add_argument("--seed", type=int, default=None, help="by default another each time; it is printed")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    console = Console()
    out = Path(tempfile.mkdtemp(prefix="al-soak-"))
    console.print(f"seed {seed}, everything in {out}, which stays when it fails")
    with tempfile.TemporaryDirectory(prefix="al-") as runtime:
        os.environ["ASYNCLOG_RUNTIME_DIR"] = runtime
        with soaking(out, Path(runtime), seed) as soak, console.status("") as status:
            end = time.monotonic() + 60 * options.minutes
            while soak.faults.total() < options.kills if options.kills else time.monotonic() < end:
                soak.strike(("kill_daemon",) if options.kills else KINDS)
                status.update(f"{dict(soak.faults)}, peak {soak.peak_mb:.0f} MB")
            status.update("everything arrives and is checked")
            figures = soak.settle()
    shutil.rmtree(out)
    console.print(f"faults: {dict(soak.faults)}")
    console.print(
        ", ".join(f"{name} {amount:,.0f}" for name, amount in figures.items()),
        f"most fds {soak.descriptors},",
        f"{soak.bytes_a_value:.0f} bytes of disk a value",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
