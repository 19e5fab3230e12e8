"""The compiled writer and its twin in Python: the same rows, the same refusals."""

from __future__ import annotations

import gc
import inspect
import mmap
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog import AsynclogWarning, bodies, pywriter, ring, rows
from asynclog.notices import Notices
from asynclog.run import Run
from asynclog.values import EXACT
from asynclog.writer import COMPILED
from asynclog.writer import Writer as Chosen
from asynclog_proto import ringfile
from asynclog_proto.records import Layout, Row, decode
from tests.client.scripted import ScriptedDaemon

CAPACITY = 64 << 10
TIME = slice(18, 26)
"""Where a row has its time."""

NAMES = st.sampled_from(["a", "b", "c/d", "é"])
NUMBERS = st.one_of(st.floats(), st.integers(-(2**53), 2**53), st.booleans())
OTHERS = st.one_of(st.integers(2**53 + 1, 2**70), st.none(), st.text(max_size=2), st.complex_numbers())
STEPS = st.one_of(st.none(), st.integers(-3, 12), st.sampled_from([2**63 - 1, 2**63, True, 1.0, "1"]))
WEIGHTS = st.one_of(st.none(), st.sampled_from([0.5, 1, 0.0, -1.0, float("nan"), float("inf"), 5e-324]))
CALLS = st.lists(st.tuples(st.dictionaries(NAMES, NUMBERS | OTHERS, max_size=4), STEPS, WEIGHTS), max_size=20)


def test_the_compiled_writer_is_here() -> None:
    """Development and CI have a C compiler; without it these tests would hold the twin to itself."""
    assert COMPILED
    assert Chosen is not pywriter.Writer


def opened(kind: type[pywriter.Writer], monkeypatch: pytest.MonkeyPatch) -> tuple[rows.Rows, mmap.mmap]:
    with monkeypatch.context() as patched:
        patched.setattr(ring, "Writer", kind)
        file = mmap.mmap(-1, ringfile.HEADER + CAPACITY)
        file[: ringfile.HEADER] = ringfile.header(CAPACITY, b"hello")
        return rows.Rows(ring.Ring(file), Notices(), bodies.nowhere(), strict=False), file


def records_of(file: mmap.mmap) -> list[bytes]:
    data = memoryview(bytes(file))
    return [bytes(record) for record in ringfile.read_records(data, ringfile.read_state(data))]


def timeless(record: bytes) -> bytes:
    return record[: TIME.start] + record[TIME.stop :] if isinstance(decode(record), Row) else record


def counters(writer: pywriter.Writer) -> tuple[int, ...]:
    return writer.place, writer.seq, writer.issued, writer.step, writer.highest, writer.backward


@given(calls=CALLS)
def test_both_write_the_same_bytes_and_refuse_the_same_calls(calls: list[tuple[Any, Any, Any]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        (ours, our_file), (twins, twin_file) = (opened(kind, monkeypatch) for kind in (Chosen, pywriter.Writer))
    for metrics, step, weight in calls:
        took = []
        for each in (ours, twins):
            if metrics and each.layouts.find(tuple(metrics)) is not None:
                each.ring.reserve(200)
            took.append(each.writer.write(metrics, step, weight))
        assert took[0] == took[1] or (took[0] and has_large_float(metrics))
        if took[0] != took[1]:
            return  # the twin leaves integers beside such floats to the careful way
        assert counters(ours.writer) == counters(twins.writer)
    assert [timeless(one) for one in records_of(our_file)] == [timeless(one) for one in records_of(twin_file)]


def has_large_float(metrics: dict[str, Any]) -> bool:
    """Beyond what integers may be, or not finite."""
    return any(isinstance(value, float) and not abs(value) <= EXACT for value in metrics.values())


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.1), np.float32(0.1), np.float16(0.1), np.int64(-7), np.int32(7), np.int8(-1), np.uint64(2**53 - 1),
        np.uint8(255), np.bool_(True), np.float64("nan"),
    ],
)  # fmt: skip
def test_numpy_scalars_are_written_as_what_float_makes_of_them(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    each, file = opened(Chosen, monkeypatch)
    each.layouts.find(("x",))
    each.ring.reserve(200)
    assert each.writer.write({"x": value}, None, None)
    row = decode(records_of(file)[-1])
    assert isinstance(row, Row)
    assert struct.pack("d", row.values[0]) == struct.pack("d", float(value))


@pytest.mark.parametrize(
    "value",
    [np.uint64(2**53 + 1), np.longdouble(1), np.complex64(1), np.array(1.0), np.datetime64("2026-01-01"), 10**400],
)
def test_what_wants_a_closer_look_is_left_alone(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    each, file = opened(Chosen, monkeypatch)
    each.layouts.find(("x",))
    each.ring.reserve(200)
    before = counters(each.writer)
    assert not each.writer.write({"x": value}, None, None)
    assert counters(each.writer) == before
    assert [type(decode(record)) for record in records_of(file)] == [Layout]


def test_equal_names_that_are_other_objects_have_the_same_layout(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()
    for step in range(100):
        prefix, other = f"{'lo'}", step % 7
        run.log({prefix + "ss": float(step), f"only/{other}": 1.0})
    assert run.finish().complete
    assert sum(isinstance(record, Layout) for record in daemon.records()) == 7
    assert [point for point in daemon.points() if point[1] == "loss"] == [(i, "loss", float(i)) for i in range(100)]


def test_a_call_from_inside_another_is_kept_and_taken_next(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()

    class Inside(dict[str, float]):
        """A mapping that logs while it is looked at, as a signal handler or a `__del__` may."""

        asked = False

        def values(self) -> Any:
            if not self.asked:
                self.asked = True
                run.log({"inner": 1.0})
            return super().values()

    run.log(Inside(outer=2.0))
    run.log({"next": 3.0})
    assert not run._rows.writer.held
    ledger = run.finish()
    assert (ledger.complete, ledger.issued) == (True, 3)
    assert sorted(name for _, name, _ in daemon.points()) == ["inner", "next", "outer"]


def test_a_name_whose_comparison_logs_harms_no_row(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()

    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            run.log({"inner": 1.0})
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    for _ in range(5):
        run.log({Name("outer"): 2.0})
    run.log({"last": 0.0})
    ledger = run.finish()
    assert ledger.complete
    assert ledger.issued == len(daemon.points())
    assert sum(name == "outer" for _, name, _ in daemon.points()) == 5


def test_many_threads_and_slow_calls_between_lose_nothing(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=log_much, args=(run, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert run.finish().complete
    found = daemon.points()
    for number in range(4):
        assert [value for _, name, value in found if name == f"t{number}"] == [float(i) for i in range(1000)]


def log_much(run: Run, number: int) -> None:
    name = f"t{number}"
    for i in range(1000):
        value: Any = np.array(float(i)) if i % 5 == number else float(i)  # an array goes the slow way
        run.log({name: value, "shared": 1}, step=0)


def test_what_other_threads_say_meanwhile_comes_between_whole_rows(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()
    interval, stop = sys.getswitchinterval(), threading.Event()
    sys.setswitchinterval(1e-6)
    try:
        talkers = [threading.Thread(target=talk, args=(run, number, stop)) for number in range(2)]
        for talker in talkers:
            talker.start()
        for step in range(20_000):
            run.log({"x": float(step)}, step=step)
        stop.set()
        for talker in talkers:
            talker.join()
    finally:
        stop.set()
        sys.setswitchinterval(interval)
    assert run.finish().complete
    assert [point for point in daemon.points() if point[1] == "x"] == [(i, "x", float(i)) for i in range(20_000)]


def talk(run: Run, number: int, stop: threading.Event) -> None:
    while not stop.is_set():
        run.params({f"p{number}": number})
        run.define(f"x{number}/*", reduce="sum")


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [((), {}), (({}, 1, None), {}), (({},), {"metrics": {}}), (({}, 1), {"step": 2}), (({},), {"wait": 1})],
)
def test_a_call_of_another_shape_is_a_type_error(
    arguments: Any, keywords: Any, each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    with pytest.raises(TypeError):
        begin().log(*arguments, **keywords)


def test_every_argument_may_be_given_by_name(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()
    run.log(weight=0.5, reduce=None, step=3, metrics={"x": 1.0})
    run.log({"x": 2.0}, 4, weight=0.5)
    run.finish()
    found = [record for record in daemon.records() if isinstance(record, Row)]
    assert [(row.step, row.weight, row.values) for row in found] == [(3, 0.5, (1.0,)), (4, 0.5, (2.0,))]


def test_the_fast_call_tells_the_signature_of_the_documented_one(
    daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    own = list(inspect.signature(begin().log).parameters.values())
    documented = list(inspect.signature(Run.log).parameters.values())[1:]
    assert [(p.name, p.kind, p.default) for p in own] == [(p.name, p.kind, p.default) for p in documented]


def test_a_subclass_may_have_its_own_log(daemon: ScriptedDaemon, begin: Callable[..., Run]) -> None:
    class Loud(Run):
        def log(
            self, metrics: Any, step: int | None = None, *, reduce: Any = None, weight: float | None = None
        ) -> None:
            super().log({f"loud/{name}": value for name, value in metrics.items()}, step, reduce=reduce, weight=weight)

    run = begin()
    loud = Loud(
        project="p", name="n", directory=run.dir, rank=0, world_size=1, mode="auto", strict=False, rows=run._rows,
        notices=run._notices, sender=run._sender,
    )  # fmt: skip
    loud.log({"x": 1.0})
    run.finish()
    assert daemon.points() == [(0, "loud/x", 1.0)]


def test_logging_keeps_no_reference(daemon: ScriptedDaemon, begin: Callable[..., Run]) -> None:
    run = begin()
    value, names = 12345.678, [f"name number {i}" for i in range(6)]
    sets = [dict.fromkeys(names[i:], value) for i in range(6)]  # more sets than the writer has at hand
    for row in sets:
        run.log(row)
    before = [sys.getrefcount(value), *map(sys.getrefcount, names)]
    for _ in range(200):
        for row in sets:
            run.log(row)
    after = [sys.getrefcount(value), *map(sys.getrefcount, names)]
    assert all(abs(new - old) <= 8 for old, new in zip(before, after, strict=True))  # those at hand move


def test_a_writer_in_a_cycle_is_collected_with_its_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    each, file = opened(Chosen, monkeypatch)
    each.layouts.find(("x",))
    each.writer.slow = each.log
    gone = weakref.ref(each)
    del each
    gc.collect()
    assert gone() is None
    file.close()  # nothing holds its memory any more


def test_a_name_that_ends_the_run_while_it_is_compared_harms_nothing(
    daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run, armed = begin(), threading.Event()

    class Name(str):
        __slots__ = ()

        def __hash__(self) -> int:
            if armed.is_set():
                armed.clear()
                run.finish()
            return str.__hash__(self)

    first: dict[str, float] = {Name("x"): 1.0}
    again: dict[str, float] = {Name("x"): 2.0}
    run.log(first)
    armed.set()
    with pytest.warns(AsynclogWarning, match="after finish"):
        run.log(again)
    assert daemon.points() == [(0, "x", 1.0)]


def test_ctrl_c_within_a_name_is_not_swallowed(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run, armed = begin(), threading.Event()

    class Name(str):
        __slots__ = ()

        def __hash__(self) -> int:
            if armed.is_set():
                armed.clear()
                raise KeyboardInterrupt
            return str.__hash__(self)

    first: dict[str, float] = {Name("x"): 1.0}
    again: dict[str, float] = {Name("x"): 2.0}
    run.log(first)
    armed.set()
    with pytest.raises(KeyboardInterrupt):
        run.log(again)
    run.log({"x": 3.0})
    assert run.finish().complete
    assert [value for _, _, value in daemon.points()] == [1.0, 3.0]


def test_a_mapping_that_has_fewer_values_than_names_does_not_raise(
    each_writer: type[pywriter.Writer], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()

    class Odd(dict[str, float]):
        def values(self) -> Any:
            return [1.0]

    run.log({"a": 1.0, "b": 2.0})
    run.log(Odd(a=1.0, b=2.0))
    run.log({"a": 3.0, "b": 4.0})
    assert run.finish().complete
    assert daemon.points()[-2:] == [(2, "a", 3.0), (2, "b", 4.0)]


def test_of_the_calls_after_a_time_was_taken_one_is_timed_another_each_time(
    each_writer: type[pywriter.Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    each, _ = opened(each_writer, monkeypatch)
    writer = each.writer
    each.layouts.find(("x",))
    each.ring.reserve(32 << 10)
    writer.log({"x": 1.0})
    assert writer.take_time() is None, "nobody had asked"
    turns = []
    for _ in range(10):
        took: list[float | None] = []
        while len(took) < 20 and not any(took):
            writer.log({"x": 1.0})
            took.append(writer.take_time())
        assert 0.0 < (took[-1] or 0.0) < 10.0
        turns.append(len(took))
    assert turns == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]
    assert writer.seq == 2 + sum(turns), "a row each, and the layout"


def test_calls_that_take_the_slow_way_or_raise_are_timed_too(
    each_writer: type[pywriter.Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = opened(each_writer, monkeypatch)[0].writer

    def slow(metrics: Any, step: Any, reduce: Any, weight: Any) -> None:
        if metrics is None:
            raise ValueError("no metrics")

    writer.slow = slow
    writer.take_time()
    writer.log({"new": 1.0})
    assert writer.take_time() is not None
    writer.log({"new": 1.0})
    with pytest.raises(ValueError, match="no metrics"):
        writer.log(None)  # type: ignore[arg-type]  # what the user gives
    assert writer.take_time() is not None


def test_a_call_within_one_that_is_timed_is_kept_as_ever(
    each_writer: type[pywriter.Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, taken = opened(each_writer, monkeypatch)[0].writer, []

    def slow(metrics: Any, step: Any, reduce: Any, weight: Any) -> None:
        taken.append(metrics)
        if len(taken) == 1:
            writer.log({"inner": 1.0})

    writer.slow = slow
    writer.take_time()
    writer.busy = True
    writer.log({"outer": 1.0})
    assert taken == [{"outer": 1.0}, {"inner": 1.0}]
    assert writer.take_time() is not None


def test_what_log_costs_is_told_by_the_run_and_to_the_daemon(
    each_writer: type[pywriter.Writer],
    daemon: ScriptedDaemon,
    begin: Callable[..., Run],
    eventually: Callable[..., None],
) -> None:
    run = begin()
    assert (run.stats.log_p50_s, run.stats.log_p99_s) == (None, None)

    def told() -> bool:
        run.log({"loss": 1.0})
        run.flush()  # heartbeats come sooner while somebody waits
        return any(beat.log_p50_s is not None for beat in daemon.heartbeats)

    eventually(told, what="a heartbeat that says it")
    beat = daemon.heartbeats[-1]
    for low, high in ((run.stats.log_p50_s, run.stats.log_p99_s), (beat.log_p50_s, beat.log_p99_s)):
        assert low is not None
        assert high is not None
        assert 0.0 < low <= high < 10.0


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("names", [("known",), ("new",)])
def test_the_first_record_while_the_sender_is_asleep_wakes_it(
    each_writer: type[pywriter.Writer], names: tuple[str, ...], timed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_, file = opened(each_writer, monkeypatch)
    writer, woken = rows_.writer, list[int]()
    writer.slow = rows_.log
    writer.log({"known": 0.0})
    writer.wake = lambda: woken.append(len(records_of(file)))
    if timed:
        writer.take_time()
    writer.log({"known": 1.0})
    assert woken == [], "nobody sleeps"
    before = len(records_of(file))
    writer.asleep = True
    writer.log(dict.fromkeys(names, 2.0))
    assert woken == [before + 1], "what there is to take was there when it woke"
    assert not writer.asleep
    writer.log(dict.fromkeys(names, 3.0))
    assert len(woken) == 1


def test_a_row_is_kept_when_what_wakes_the_sender_is_interrupted(
    each_writer: type[pywriter.Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_, file = opened(each_writer, monkeypatch)
    writer = rows_.writer
    rows_.log({"x": 0.0}, None, None, None)
    before = len(records_of(file))

    def interrupted() -> None:
        raise KeyboardInterrupt

    writer.wake, writer.asleep = interrupted, True
    with pytest.raises(KeyboardInterrupt):
        writer.log({"x": 1.0})
    assert len(records_of(file)) == before + 1
    assert not writer.busy


def test_an_extension_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from asynclog import _writer, compiled

    monkeypatch.setattr(_writer, "VERSION", 0)
    with pytest.warns(AsynclogWarning, match="install asynclog again"):
        assert compiled.extension("_writer") is None


INTERRUPTED = """
import signal, sys, asynclog
class Stop(Exception): pass
inside = False
def stop(*_):
    global inside
    if inside:
        inside = False
        raise Stop
signal.signal(signal.SIGALRM, stop)
run = asynclog.init(project="p", name="n", dir=sys.argv[1], mode="offline")
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
stopped = 0
for step in range(3000):
    try:
        inside = True
        run.log({"a": {"b": float(step)}, "c": 1.0})  # nested: the slow way
        run.params({"p": step})
        inside = False
    except Stop:
        stopped += 1
inside = False
signal.setitimer(signal.ITIMER_REAL, 0)
assert stopped > 20, stopped
assert not run._rows.writer.busy
before = run.stats.issued
run.log({"after": 1.0})
assert run.stats.issued == before + 1
run.finish(timeout=20)
assert run._sender.done.is_set()
"""


def test_signals_that_raise_leave_no_lock_and_no_flag_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
