"""Sinks whose service answers over real HTTP: throttled, failing, breaking off, slow, or not there at all."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from asynclogd.delivery import SinkSettings
from asynclogd.points import Item, RunEnd
from tests.daemon.filebackend import FileBackend, lines
from tests.daemon.httpservice import Answer, HttpBackend, serving
from tests.daemon.sinkplace import Place
from tests.daemon.tables import table

pytestmark = pytest.mark.fault("service-errors")

Eventually = Callable[..., None]

ITEMS: list[Item] = [table(step) for step in range(200)]
TIMES = SinkSettings(flush_interval=0.001, first_retry=0.001, longest_retry=0.01, batch_bytes=64 << 10)


class Service:
    """Keeps what it takes; `answers` come before that, one a request, None takes."""

    def __init__(self, answers: Iterable[Answer | None] = ()) -> None:
        self.answers: Iterator[Answer | None] = iter(answers)
        self.kept: Counter[tuple[str, int, float]] = Counter()
        self.sizes: list[int] = []
        self.most = 1 << 30

    def __call__(self, method: str, path: str, body: bytes) -> Answer:
        assert (method, path) == ("POST", "/points")
        points = [tuple(point) for point in json.loads(body)]
        self.sizes.append(len(points))
        answer = next(self.answers, None)
        if answer is not None:
            return answer
        if len(points) > self.most:
            return Answer(429, {"Retry-After": "0"})
        self.kept.update(points)
        return Answer()


def everything(items: Iterable[Item]) -> set[tuple[str, int, float]]:
    return {(point.name, point.step, point.value) for item in items for point in item}  # type: ignore[union-attr]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, ITEMS)


THROTTLED, GONE = Answer(429, {"Retry-After": "0.01"}), Answer(closes=True)


@pytest.mark.parametrize(
    "answers",
    [
        [Answer(500)] * 5,
        [THROTTLED, Answer(503), None, THROTTLED, None, None, Answer(429)],
        [GONE, GONE, None, GONE],
        [Answer(500), THROTTLED, GONE, None] * 4,
    ],
)
def test_whatever_it_answers_for_a_while_everything_arrives(
    place: Place, answers: list[Answer | None], eventually: Eventually
) -> None:
    service = Service(answers)
    with serving(service) as url:
        sink = place.sink(HttpBackend(url), times=TIMES)
        eventually(lambda: sink.offset == len(ITEMS), what="delivery")
        assert sink.stop(drain=True, timeout=60)
    assert service.kept.keys() == everything(ITEMS)


def test_a_service_that_takes_little_at_a_time_is_sent_little_at_a_time(place: Place, eventually: Eventually) -> None:
    service = Service()
    service.most = 20
    with serving(service) as url:
        sink = place.sink(HttpBackend(url), times=TIMES)
        eventually(lambda: sink.offset == len(ITEMS), what="delivery")
        assert max(service.sizes) > 20, "it began with more than the service takes"
        assert sink.status().window > 0
        assert sink.status().failures >= 3
        assert sink.stop(drain=False, timeout=30)
    assert service.kept == Counter(everything(ITEMS)), "a write that was throttled took nothing"


def test_it_is_sent_more_again_when_it_takes_that(place: Place, eventually: Eventually) -> None:
    service = Service([THROTTLED] * 3)
    with serving(service) as url:
        sink = place.sink(HttpBackend(url), times=TIMES)
        eventually(lambda: sink.status().window > 0, what="a narrowed pace")
        eventually(lambda: sink.offset == len(ITEMS), what="delivery")
        step = len(ITEMS)
        while sink.status().window:
            place.add(table(step))
            sink.wake()
            step += 1
            eventually(lambda: sink.offset == place.log.last_offset, what="delivery")
        assert sink.stop(drain=True, timeout=30)
    assert service.kept == Counter(everything([table(each) for each in range(step)]))


def test_a_retry_after_is_waited_for_and_the_status_says_so(place: Place, eventually: Eventually) -> None:
    service = Service([Answer(429, {"Retry-After": "600"})])
    with serving(service) as url:
        sink = place.sink(HttpBackend(url), times=TIMES)
        eventually(lambda: sink.status().retry_in > 590, what="the wait")
        assert sink.status().state == "retrying"
        assert "429" in sink.status().error
        assert len(service.sizes) == 1
        assert sink.stop(drain=False, timeout=30)


def test_a_write_that_hangs_shows_in_the_status(place: Place, eventually: Eventually) -> None:
    goes_on = threading.Event()
    service = Service()

    def slow(method: str, path: str, body: bytes) -> Answer:
        goes_on.wait(60)
        return service(method, path, body)

    with serving(slow) as url:
        sink = place.sink(HttpBackend(url), times=TIMES)
        eventually(lambda: sink.status().call == "write" and sink.status().call_seconds > 0.05, what="the status")
        goes_on.set()
        eventually(lambda: sink.offset == len(ITEMS), what="delivery")
        eventually(lambda: sink.status().call == "", what="the end of the call")
        assert sink.stop(drain=True, timeout=30)


def test_one_that_is_down_delays_no_other_and_catches_up(place: Place, tmp_path: Path, eventually: Eventually) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    down = place.sink(HttpBackend(f"http://127.0.0.1:{port}"), times=TIMES)
    other = Place(tmp_path / "other")
    other.log = place.log
    beside = other.sink(FileBackend())
    eventually(lambda: beside.offset == len(ITEMS), what="delivery beside the one that is down")
    eventually(lambda: down.status().retries > 3, what="retries")
    assert (down.offset, down.status().lag) == (0, len(ITEMS))
    place.add(table(len(ITEMS)))
    place.add(RunEnd("success"))
    service = Service()
    with serving(service, port) as _:
        eventually(lambda: down.offset == len(ITEMS) + 2, what="delivery")
        assert down.stop(drain=True, timeout=30)
    assert service.kept == Counter(everything([*ITEMS, table(len(ITEMS))]))
    assert beside.stop(drain=True, timeout=30)
    assert other.text().startswith(lines(ITEMS[0]))
