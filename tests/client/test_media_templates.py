"""Media whose like was written before: not looked at again, and recorded as if they had been."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asynclog
from asynclog import AsynclogWarning, hostarrays, knownmedia, rows, sorting
from asynclog._media import templates
from asynclog._media.form import Form
from asynclog._media.laying import flat
from asynclog._media.writing import MediaWriter
from asynclog.bodies import Bodies
from asynclog.mediaspool import MediaSpool
from asynclog.ring import Ring
from asynclog.tensors import DeviceQueue
from asynclog.values import Problem
from asynclog_proto import ringfile
from asynclog_proto.media import Media, Place
from asynclog_proto.records import decode
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]
Make = Callable[[Any], Any]
SMALL, BIG = (3, 4, 5), (3, 40, 50)
"""Of a body that fits its record, and of one that does not."""


@pytest.fixture(params=["compiled", "twin"])
def _each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs twice: items are found and laid by C, and by Python."""
    if request.param == "twin":
        monkeypatch.setattr(hostarrays, "look", hostarrays.look_in_python)
        monkeypatch.setattr(hostarrays, "copy", hostarrays.copy_in_python)
        monkeypatch.setattr(knownmedia, "find", knownmedia.find_in_python)
        monkeypatch.setattr(knownmedia, "lay", knownmedia.lay_in_python)


@pytest.fixture
def closer_look(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that were sorted value by value, as they come."""
    calls: list[Any] = []
    sort = sorting.sort

    def noted(metrics: Any) -> Any:
        calls.append(metrics)
        return sort(metrics)

    monkeypatch.setattr(rows, "sort", noted)
    return calls


def array(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def told(record: Media) -> tuple[Any, ...]:
    """All of a record that does not change from one item to the next of its like."""
    return record.name, record.kind, record.sections, record.options, isinstance(record.body, Place)


KINDS: list[tuple[Make, tuple[int, ...]]] = [
    (asynclog.Image, SMALL),
    (asynclog.Image, BIG),
    (lambda a: asynclog.Image(a, caption="Grüße", dataformats="CHW", rescale=2), BIG),
    (asynclog.Images, (2, 3, 40, 50)),
    (lambda a: asynclog.Video(a, fps=8), (1, 2, 3, 40, 50)),
    (lambda a: asynclog.Audio(a, sample_rate=8000, caption="c"), (1, 44100)),
    (asynclog.Audio, (100,)),
    (asynclog.Histogram, (10, 10)),
    (lambda a: asynclog.Histogram(a, bins=7, max_bins=3), (1024,)),
    (lambda a: asynclog.Histogram(a, bins="auto"), (1025,)),
    (asynclog.Embedding, (50, 60)),
]


@pytest.mark.usefixtures("_each")
@pytest.mark.parametrize(("make", "shape"), KINDS)
def test_the_next_of_its_like_is_recorded_as_the_first(
    make: Make, shape: tuple[int, ...], daemon: ScriptedDaemon, begin: Begin, closer_look: list[Any]
) -> None:
    run = begin()
    given = [array(shape, seed) for seed in range(3)]
    steps = (0, 7, 1 << 62)
    for step, each in zip(steps, given, strict=True):
        run.log({"größe/x": make(each)}, step)
    assert len(closer_look) == 1
    assert run.flush()
    records = daemon.media()
    assert [told(record) for record in records] == [told(records[0])] * 3
    assert [daemon.body(record) for record in records] == [each.tobytes() for each in given]
    assert tuple(record.step for record in records) == steps
    assert records[0].time <= records[1].time <= records[2].time
    ledger = run.finish()
    assert (ledger.issued, ledger.journaled, ledger.dropped) == (3, 3, {})


@pytest.mark.usefixtures("_each")
def test_the_array_may_change_after_the_call(daemon: ScriptedDaemon, begin: Begin, closer_look: list[Any]) -> None:
    run = begin()
    image = array(BIG, 0)
    wanted = []
    for step in range(3):
        image[:] = step
        wanted.append(image.tobytes())
        run.log_image("x", image, step)
    image[:] = 9
    assert len(closer_look) == 1
    run.flush()
    assert [daemon.body(record) for record in daemon.media()] == wanted


@pytest.mark.torch
@pytest.mark.usefixtures("_each")
def test_a_modules_distribution_keeps_its_order(daemon: ScriptedDaemon, begin: Begin, closer_look: list[Any]) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(50, 60), torch.nn.Linear(60, 1, dtype=torch.float64))
    run = begin()
    wanted = []
    for step in range(3):
        run.log_distribution(model, step)
        wanted += [(name, step, each.detach().numpy().tobytes()) for name, each in model.named_parameters()]
        with torch.no_grad():
            for each in model.parameters():
                each.add_(1)
    assert len(closer_look) == 1
    run.flush()
    got = [(r.name.removeprefix("parameters/"), r.step, daemon.body(r)) for r in daemon.media()]
    assert got == wanted


def test_steps_count_as_everywhere(daemon: ScriptedDaemon, begin: Begin, closer_look: list[Any]) -> None:
    run = begin()
    given = array(SMALL, 0)
    run.log({"x": asynclog.Image(given)}, 4)
    run.log({"x": asynclog.Image(given)})
    run.log({"a": 1.0})
    run.log({"x": asynclog.Image(given)}, 2)
    run.log({"x": asynclog.Image(given)})
    run.flush()
    assert [record.step for record in daemon.media()] == [4, 5, 2, 7]
    assert daemon.points() == [(6, "a", 1.0)]
    assert len(closer_look) == 2  # the first, and the one that goes back
    assert run.stats.backward_steps == 0


class Halved(asynclog.Audio):
    """A user's own, whose form depends on its elements."""

    def form(self) -> Form:
        given = asynclog.Audio(self.audio[: int(self.audio[0])], sample_rate=self.sample_rate)
        return given.form()


Change = Callable[[Any], dict[str, Any]]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {"x": asynclog.Audio(a, sample_rate=9)},
        lambda a: {"x": asynclog.Audio(a, caption="other")},
        lambda a: {"x": asynclog.Audio(a[:-1])},
        lambda a: {"x": asynclog.Audio(a[None])},
        lambda a: {"x": asynclog.Audio(a.astype(np.float64))},
        lambda a: {"x": asynclog.Audio(a[::-1])},
        lambda a: {"x": asynclog.Audio(a.tolist())},
        lambda a: {"x": asynclog.Histogram(a)},
        lambda a: {"x": Halved(a + 40)},
        lambda a: {"y": asynclog.Audio(a)},
        lambda a: {"x": asynclog.Audio(a), "a": 1.0},
        lambda a: {"x": asynclog.Audio(a), "y": asynclog.Text("text")},
        lambda a: {"in": {"x": asynclog.Audio(a)}},
    ],
)
def test_anything_else_is_looked_at(
    change: Change, daemon: ScriptedDaemon, begin: Begin, closer_look: list[Any]
) -> None:
    given = array((500,), 0)
    run = begin()
    run.log({"x": asynclog.Audio(given)}, 0)
    del closer_look[:]
    run.log(change(given), 1)
    assert len(closer_look) == 1
    run.flush()
    wanted = sorting.sort(change(given)).media
    records = daemon.media()[1:]
    assert [record.name for record in records] == list(wanted)
    for record, form in zip(records, wanted.values(), strict=True):
        assert record.kind == form.kind
        assert record.sections == tuple(part.section for part in form.parts)
        assert record.options == form.options
        assert daemon.body(record) == b"".join(map(flat, form.parts))


def test_what_is_wrong_is_told_as_before(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    given = array((500,), 0)
    run.log({"x": asynclog.Histogram(given, bins=1)})
    with pytest.warns(AsynclogWarning, match="bins=True"):
        run.log({"x": asynclog.Histogram(given, bins=True)})
    run.log({"y": asynclog.Histogram(given, bins=1)})
    with pytest.warns(AsynclogWarning, match="it has no element"):
        run.log({"y": asynclog.Histogram(given[:0], bins=1)})
    with pytest.warns(AsynclogWarning, match="weight=0"):
        run.log({"x": asynclog.Histogram(given, bins=1)}, weight=0)
    with pytest.warns(AsynclogWarning, match="step='a'"):
        run.log({"x": asynclog.Histogram(given, bins=1)}, "a")  # type: ignore[arg-type]
    run.flush()
    assert len(daemon.media()) == 4
    assert run.finish().dropped == {"bad_value": 2}
    with pytest.warns(AsynclogWarning, match="after finish"):
        run.log({"x": asynclog.Histogram(given, bins=1)})


def test_what_lies_on_a_device_is_always_fetched() -> None:
    item = asynclog.Histogram(array(BIG, 0))
    (part,) = item.form().parts
    known = templates.Templates(4096)
    known.learn({"x": item}, {"x": Form("histogram", (part._replace(is_on_device=True),))})
    assert not known.known
    known.learn({"x": item}, {"x": Form("histogram", (part,))})
    assert known.known


def test_a_name_that_came_twice_is_learned_from_neither(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    given = array((500,), 0)
    twice = {"a": {"b": asynclog.Audio(given, sample_rate=1)}, "a/b": asynclog.Audio(given, sample_rate=2)}
    with pytest.warns(AsynclogWarning, match="twice"):
        run.log(twice)
    run.log({"a/b": asynclog.Audio(given, sample_rate=2)})
    run.flush()
    assert [record.options["sample_rate"] for record in daemon.media()] == [1, 2]


def test_what_has_no_room_in_the_outbox_goes_to_the_spool(
    daemon: ScriptedDaemon, begin: Begin, closer_look: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "1")
    run = begin()
    given = [array((200_000,), seed) for seed in range(3)]
    for each in given:
        run.log({"x": asynclog.Histogram(each)})
    assert len(closer_look) == 1
    run.flush()
    bodies = [record.body for record in daemon.media()]
    assert [body.file for body in bodies if isinstance(body, Place)] == [0, 1, 1]
    assert [daemon.body(record) for record in daemon.media()] == [each.tobytes() for each in given]


@pytest.mark.usefixtures("_each")
@pytest.mark.parametrize("shape", [SMALL, BIG])
def test_a_full_ring_counts_what_it_has_no_room_for(shape: tuple[int, ...], runtime_dir: Path) -> None:
    file = mmap.mmap(-1, ringfile.HEADER + 8192)
    file[: ringfile.HEADER] = ringfile.header(8192, b"hello")
    ring, lost = Ring(file), list[Problem]()
    outbox_and_none = Bodies(runtime_dir / "a.outbox", 8 << 20, MediaSpool(runtime_dir, 0, print), print)
    writer = MediaWriter(ring, outbox_and_none, lost.extend, lambda *_: None)
    metrics = {"x": asynclog.Image(array(shape, 0))}
    forms = {"x": metrics["x"].form()}
    writer.write(forms, 0, 0.0, DeviceQueue())
    writer.learn(metrics, forms)
    written, used = 1, 0
    while not lost:
        used = outbox_and_none.used
        known = writer.find(metrics)
        assert known is not None
        assert writer.log_known(known, written)
        written += not lost
    assert [problem.cause for problem in lost] == ["ring_full"]
    assert outbox_and_none.used == used
    data = memoryview(bytes(file))
    state = ringfile.read_state(data)
    assert state.issued == written  # the first was counted by nobody, the last was lost
    records = [decode(bytes(record)) for record in ringfile.read_records(data, state)]
    assert [record.step for record in records if isinstance(record, Media)] == list(range(written))
    outbox_and_none.close()


def test_names_without_end_are_all_recorded(
    daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "MOST", 2)
    run = begin()
    given = array(SMALL, 0)
    names = [f"x{i % 5}" for i in range(12)]
    for name in names:
        run.log({name: asynclog.Image(given)})
    run.flush()
    assert [record.name for record in daemon.media()] == names
