"""What `log()` takes, and what it says of the rest."""

# ruff: noqa: PT031 - that a warning is told once shows over several calls

from __future__ import annotations

import argparse
import contextlib
import decimal
import itertools
import math
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asynclog
from asynclog import AsynclogWarning
from asynclog_proto import records
from asynclog_proto.limits import MAX_NAMES_PER_ROW
from tests.client.scripted import ScriptedDaemon

pytestmark = pytest.mark.usefixtures("each_writer")

Begin = Callable[..., asynclog.Run]
Point = tuple[int, str, float]


@pytest.fixture
def run(daemon: ScriptedDaemon, begin: Begin) -> asynclog.Run:
    return begin()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def points_of(run: asynclog.Run, daemon: ScriptedDaemon) -> list[Point]:
    assert run.finish().complete
    return daemon.points()


def same(one: list[Point], other: list[Point]) -> bool:
    """Equal, and NaN is NaN, and -0.0 is not 0.0."""
    return repr(one) == repr(other)


def test_numbers_of_python_and_numpy_arrive_as_float64(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log({"float": 0.5, "int": 3, "bool": True})
        run.log({"f64": np.float64(1.5), "f32": np.float32(0.1), "i": np.int64(-4), "b": np.bool_(False)})
        run.log({"0d": np.array(2.5), "1": np.array([7]), "longdouble": np.longdouble(1.25), "u8": np.uint8(200)})
        run.log({"decimal": decimal.Decimal("0.25")})
    assert points_of(run, daemon) == [
        (0, "float", 0.5), (0, "int", 3.0), (0, "bool", 1.0),
        (1, "f64", 1.5), (1, "f32", float(np.float32(0.1))), (1, "i", -4.0), (1, "b", 0.0),
        (2, "0d", 2.5), (2, "1", 7.0), (2, "longdouble", 1.25), (2, "u8", 200.0),
        (3, "decimal", 0.25),
    ]  # fmt: skip


def test_non_finite_numbers_and_signed_zero_are_kept(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    for value in values:
        run.log({"x": value, "n": 1})
    assert same(
        [point for point in points_of(run, daemon) if point[1] == "x"], [(i, "x", v) for i, v in enumerate(values)]
    )


def test_nested_mappings_are_flattened(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    run.log({"train": {"loss": 1.0, "by class": {"a": 2}}, "lr": 0.5, "empty": {}})
    assert points_of(run, daemon) == [(0, "train/loss", 1.0), (0, "train/by class/a", 2.0), (0, "lr", 0.5)]


BAD = [
    ("bad_value", {"x": None}, "'x' is None"),
    ("bad_value", {"x": "12"}, "'x' is the text '12'"),
    ("bad_value", {"x": 1 + 2j}, "'x' is complex"),
    ("bad_value", {"x": np.complex64(1)}, "'x' is complex"),
    ("bad_value", {"x": [1.0, 2.0]}, "'x' is of type list"),
    ("bad_value", {"x": np.zeros(3)}, r"'x' has shape \(3,\): log its mean"),
    ("bad_value", {"x": np.zeros(0)}, r"'x' has shape \(0,\)"),
    ("bad_value", {"x": object()}, "'x' is of type object"),
    ("bad_value", {"x": 10**400}, "'x' is an integer beyond float64"),
    ("bad_value", {"x": np.array(["a"])}, "'x' is the text 'a'"),
    ("bad_value", {"x": np.datetime64("2026-01-01")}, "'x' is of type date"),
    ("bad_name", {3: 1.0}, "the name 3 is of type int"),
    ("bad_name", {None: 1.0}, "the name None is of type NoneType"),
    ("bad_name", {"": 1.0}, "a name is empty"),
    ("bad_name", {"a" * 1025: 1.0}, "takes 1025 bytes"),
    ("bad_name", {"é" * 513: 1.0}, "takes 1026 bytes"),
    ("bad_name", {"\ud800": 1.0}, "lone surrogate"),
    ("bad_name", {"a/b": 1.0, "a": {"b": 2.0}}, "'a/b' is in one call twice"),
]


@pytest.mark.parametrize(("cause", "metrics", "text"), BAD)
def test_what_is_no_number_is_told_and_counted_and_the_rest_is_kept(
    cause: str, metrics: dict[Any, Any], text: str, run: asynclog.Run, daemon: ScriptedDaemon
) -> None:
    with pytest.warns(AsynclogWarning, match=text):
        run.log({"before": 1.0, **metrics, "after": 2.0})
    run.log({"before": 1.0, **metrics, "after": 2.0})
    ledger = run.finish()
    assert ledger.dropped == {cause: 2}
    assert ledger.issued - 2 == ledger.journaled == len(daemon.points())
    assert {(0, "before", 1.0), (0, "after", 2.0), (1, "after", 2.0)} <= set(daemon.points())


@pytest.mark.parametrize(("cause", "metrics", "text"), BAD)
def test_strict_raises_before_anything_is_written(
    cause: str, metrics: dict[Any, Any], text: str, daemon: ScriptedDaemon, begin: Begin
) -> None:
    run = begin(strict=True)
    with pytest.raises((TypeError, ValueError), match=text):
        run.log({"before": 1.0, **metrics})
    assert run.finish().issued == 0
    assert daemon.points() == []


@pytest.mark.parametrize("metrics", [None, 3.0, [("a", 1.0)], "text"])
def test_what_is_no_mapping_is_told(metrics: Any, run: asynclog.Run) -> None:
    with pytest.warns(AsynclogWarning, match="log\\(\\) takes a mapping"):
        run.log(metrics)
    assert run.stats.dropped["bad_value"] == 1


def test_a_value_whose_conversion_raises_harms_no_other(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    class Hostile:
        shape = ()

        def item(self) -> float:
            raise RuntimeError("no")

    with pytest.warns(AsynclogWarning, match="'x' of type Hostile is no number: no"):
        run.log({"x": Hostile(), "y": 1.0})
    assert points_of(run, daemon) == [(0, "y", 1.0)]


def test_a_mapping_that_raises_is_counted_and_does_not_raise(run: asynclog.Run) -> None:
    class Hostile(dict[str, float]):
        def __iter__(self) -> Iterator[str]:
            raise RuntimeError("no")

        def items(self) -> Any:
            raise RuntimeError("no")

        def values(self) -> Any:
            raise RuntimeError("no")

    with pytest.warns(AsynclogWarning, match="log\\(\\) failed"):
        run.log(Hostile(a=1.0))
    assert run.stats.dropped["bad_value"] == 1


def test_large_integers_are_rounded_with_one_warning(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    with pytest.warns(AsynclogWarning, match="beyond 2\\*\\*53") as told:
        run.log({"x": 2**53 + 1})
        run.log({"x": -(2**63) - 1})
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log({"y": 2**60})  # exact
    assert points_of(run, daemon) == [(0, "x", 2.0**53), (1, "x", -(2.0**63)), (2, "y", 2.0**60)]


def test_steps_default_to_one_more_than_the_last(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    for step in (None, None, 10, None, 12.0, None, np.int64(20), None):
        run.log({"x": 1.0}, step=step)  # type: ignore[arg-type]
    assert [step for step, _, _ in points_of(run, daemon)] == [0, 1, 10, 11, 12, 13, 20, 21]


@pytest.mark.parametrize("step", [True, "3", 2.5, math.nan, 2**63, None.__class__, [1]])
def test_a_step_that_is_none_is_told_and_counted_on(step: Any, run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    run.log({"x": 1.0}, step=4)
    with pytest.warns(AsynclogWarning, match="the counter's 5 is used"):
        run.log({"x": 2.0}, step=step)
    assert points_of(run, daemon) == [(4, "x", 1.0), (5, "x", 2.0)]


def test_a_step_that_goes_backwards_is_kept_told_once_and_counted(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    run.log({"x": 1.0}, step=10)
    with pytest.warns(AsynclogWarning, match="step 3 comes after step 10") as told:
        run.log({"x": 2.0}, step=3)
        run.log({"x": 3.0})
    assert len(told) == 1
    assert run.stats.backward_steps == 2
    assert run.stats.step == 4
    assert [step for step, _, _ in points_of(run, daemon)] == [10, 3, 4]


def test_steps_that_go_back_again_and_again_are_counted_and_cost_no_care(
    run: asynclog.Run, daemon: ScriptedDaemon
) -> None:
    """Two threads with steps of their own, one behind the other."""
    row = {"x": 1.0}
    with quiet():
        run.log(row, step=100)
        run.log(row, step=0)
    for step in range(1, 50):
        run.log(row, step=100 + step)
        made = itertools.count()
        sys.setprofile(lambda *_, made=made: next(made))
        try:
            run.log(row, step=step)
        finally:
            sys.setprofile(None)
        assert next(made) < 40  # taken with care it is more than a hundred
    assert run.stats.backward_steps == 50
    assert run.stats.step == 49
    steps = [step for pair in zip(range(100, 150), range(50), strict=True) for step in pair]
    assert [step for step, _, _ in points_of(run, daemon)] == steps


def test_weights_travel_and_bad_ones_become_one(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    run.log({"x": 1.0}, weight=None)
    run.log({"x": 1.0}, weight=2)
    run.log({"x": 1.0}, weight=0.5)
    bad: list[Any] = [0, -1, math.nan, math.inf, "a"]
    for weight in bad:
        run.log({"x": 1.0}, weight=2.5)
        with quiet():
            run.log({"x": 1.0}, weight=weight)
    run.finish()
    rows = [record for record in daemon.records() if isinstance(record, records.Row)]
    assert [row.weight for row in rows] == [1.0, 2.0, 0.5, *[2.5, 1.0] * 5]


def test_a_bad_weight_is_told(run: asynclog.Run) -> None:
    with pytest.warns(AsynclogWarning, match="weight=0 is not"):
        run.log({"x": 1.0}, weight=0)


def test_a_time_that_is_none_is_told_and_becomes_this_moment(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    before = time.time()
    with pytest.warns(AsynclogWarning, match=r"the time 17000+\.0 is not in seconds since 1970"):
        run.log_at({"x": 1.0}, 0, 1.7e12)
    bad: list[Any] = [-1.0, 1e306, math.nan, math.inf, "a"]
    with quiet():
        for given in bad:
            run.log_at({"x": 1.0, "note": asynclog.Text("ü")}, 1, given)
    run.log_at({"x": 1.0}, 2, 1_000.5)
    run.finish()
    *odd, usual = [record.time for record in daemon.records() if isinstance(record, records.Row)]
    assert len(odd) == 6
    assert all(before <= each <= time.time() for each in odd)
    assert usual == 1_000.5


def test_reduce_is_said_once_for_exactly_those_names(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    for _ in range(3):
        run.log({"a[0]*": 1.0}, reduce="max")
    run.log({"a[0]*": 1.0}, reduce=["max", "min"])
    with pytest.warns(AsynclogWarning, match="reduce is one or several of"):
        run.log({"b": 1.0}, reduce="median")
    run.finish()
    defines = [record for record in daemon.records() if isinstance(record, records.Define)]
    assert defines == [records.Define("a[[]0][*]", ("max",)), records.Define("a[[]0][*]", ("max", "min"))]
    assert len(daemon.points()) == 5


def test_define_takes_patterns_and_refuses_what_is_no_reduction(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    run.define("train/*", reduce="sum", per_rank=True)
    nothing: list[Any] = ["median", [], 3, None]
    for reduce in nothing:
        with pytest.raises(ValueError, match="reduce is one or several of"):
            run.define("x", reduce=reduce)
    with pytest.raises(ValueError, match="pattern"):
        run.define("", reduce="sum")
    run.finish()
    assert records.Define("train/*", ("sum",), per_rank=True) in daemon.records()


def test_log_after_finish_is_told_once_and_counted(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    run.log({"x": 1.0})
    run.finish()
    with pytest.warns(AsynclogWarning, match="after finish") as told:
        run.log({"x": 2.0, "y": 3.0})
        run.log({"x": 2.0})
    assert len(told) == 1
    assert run.stats.dropped["after_finish"] == 3
    assert daemon.points() == [(0, "x", 1.0)]


def test_threads_log_without_loss(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    def work(number: int) -> None:
        for i in range(500):
            run.log({f"t{number}": float(i), "shared": i}, step=i)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    with quiet():  # steps go backwards, thread by thread
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = points_of(run, daemon)
    for number in range(4):
        mine = [(step, value) for step, name, value in found if name == f"t{number}"]
        assert mine == [(i, float(i)) for i in range(500)]


def test_many_names_arrive_in_one_call(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    for width in (1, 1000, 50_000):
        run.log({f"m/{i}": float(i) for i in range(width)})
    found = points_of(run, daemon)
    assert len(found) == 51_001
    assert found[-1] == (2, "m/49999", 49999.0)


def test_a_wide_row_costs_no_call_for_each_of_its_values(run: asynclog.Run, daemon: ScriptedDaemon) -> None:
    """Such a row lacks room at each call, for the writer's stretch of the ring is shorter."""
    names, calls = [f"name/{index}" for index in range(10_000)], []
    for step in range(4):
        row, made = dict.fromkeys(names, step + 0.5), itertools.count()
        sys.setprofile(lambda *_, made=made: next(made))
        try:
            run.log(row, step=step)
        finally:
            sys.setprofile(None)
        calls.append(next(made))
    assert max(calls[1:]) < 200  # the first one has its names checked and spelt
    assert len(points_of(run, daemon)) == 40_000


def test_a_row_too_wide_for_a_record_is_split(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_RING_MB", "0.25")
    run = begin()
    wide = {f"name number {i}": float(i) for i in range(5000)}
    for _ in range(3):
        run.log(wide)
    found = points_of(run, daemon)
    assert found == [(step, name, value) for step in range(3) for name, value in wide.items()]
    assert all(
        len(record.names) < MAX_NAMES_PER_ROW for record in daemon.records() if isinstance(record, records.Layout)
    )


@pytest.mark.cap("names")
def test_more_sets_of_names_than_a_stream_may_have_are_counted(
    run: asynclog.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynclog.layouts.MAX_STREAM_LAYOUTS", 3)
    with pytest.warns(AsynclogWarning, match="too many different sets of names"):
        for i in range(5):
            run.log({f"x{i}": 1.0})
    run.log({"x0": 1.0})
    assert run.stats.dropped["bad_name"] == 2


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
VALUES = st.one_of(st.floats(), st.integers(-(2**53), 2**53), st.booleans())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=6), max_size=8))
def test_whatever_numbers_are_logged_arrive(
    daemon: ScriptedDaemon, begin: Begin, calls: list[dict[str, float]]
) -> None:
    daemon.journal.clear()
    run = begin()
    for step, metrics in enumerate(calls):
        run.log(metrics, step=step)
    expected = [(step, name, float(value)) for step, metrics in enumerate(calls) for name, value in metrics.items()]
    assert same(points_of(run, daemon), expected)


def test_params_and_summary_arrive_flat(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin(config={"optimizer": {"lr": 0.1}, "layers": [1, 2]})
    run.params(argparse.Namespace(batch=32))
    run.summary({"best": 0.9}, epochs=3)
    run.finish()
    said = [record.values for record in daemon.records() if isinstance(record, (records.Params, records.Summary))]
    assert said == [{"optimizer/lr": 0.1, "layers": "[1, 2]"}, {"batch": 32}, {"best": 0.9, "epochs": 3}]


def test_module_level_functions_speak_to_the_current_run(daemon: ScriptedDaemon, begin: Begin) -> None:
    assert asynclog.current_run() is None
    with pytest.warns(AsynclogWarning, match="log\\(\\) without a run"):
        asynclog.log({"x": 1.0})
    run = begin()
    assert asynclog.current_run() is run
    asynclog.log({"x": 1.0}, step=3, weight=2.0)
    asynclog.define("x", reduce="max")
    asynclog.params({"a": 1})
    asynclog.summary(b=2)
    ledger = asynclog.finish()
    assert ledger is not None
    assert ledger.complete
    assert len(daemon.records()) == 6


def test_values_of_another_time_and_a_way_back_are_said_in_their_order(
    run: asynclog.Run, daemon: ScriptedDaemon
) -> None:
    run.expect_steps_to_go_back()
    run.log({"a": 1.0}, 7)
    run.rewind(5)
    run.log_at({"a": 2.0}, 6, 1_000.5)
    assert run.finish().complete
    before, rewind, after = (said for said in daemon.records() if isinstance(said, (records.Row, records.Rewind)))
    assert isinstance(before, records.Row)
    assert isinstance(after, records.Row)
    assert rewind == records.Rewind(5)
    assert (after.step, after.time, after.values) == (6, 1_000.5, (2.0,))
    assert before.time > 1e9
