from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from asynclogd import spellings
from asynclogd.backends.mlflow import MlflowBackend, MlflowConfig
from asynclogd.points import Item, Params
from asynclogd.spellings import Spellings
from tests.daemon.filebackend import FileBackend
from tests.daemon.sinkplace import Place
from tests.daemon.tables import table


class Shouting(FileBackend):
    def spelt(self, name: str) -> str:
        return name.upper()


def test_a_name_that_is_another_there_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen = Spellings("mlflow", MlflowBackend(MlflowConfig()))
    items: list[Item] = [table(0, names=["loss", "a@b"]), table(1, names=["a@b", "c#"]), Params({"lr": 1, "a@b": 2})]
    for _ in range(3):
        seen.see(items)
    assert caplog.messages == [
        "mlflow can't take the name 'a@b' as it is: there it is 'a_0x40_b'",
        "mlflow can't take the name 'c#' as it is: there it is 'c_0x23_'",
    ]


def test_names_without_end_are_not_all_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen = Spellings("loud", Shouting())
    for number in range(3 * spellings.MOST):
        seen.see([table(number, names=[f"name {number}"])])
    assert len(caplog.messages) == spellings.MOST + 1
    assert "no more" in caplog.messages[-1]


def test_a_backend_that_can_not_say_it_is_asked_no_more(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FileBackend):
        asked = 0

        def spelt(self, name: str) -> str:
            self.asked += 1
            raise KeyError(name)

    caplog.set_level(logging.INFO)
    backend = Broken()
    seen = Spellings("broken", backend)
    for number in range(3):
        seen.see([table(number, names=["a"])])
    assert (backend.asked, caplog.messages) == (1, [])


def test_a_name_is_looked_at_once_in_whatever_table_it_comes() -> None:
    class Counting(FileBackend):
        asked = 0

        def spelt(self, name: str) -> str:
            self.asked += 1
            return name

    backend = Counting()
    seen = Spellings("counting", backend)
    for number in range(100):
        seen.see([table(number, names=["a", "b"])])
    assert backend.asked == 2


def test_a_sink_tells_of_what_its_backend_is_offered(
    tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place = Place(tmp_path_factory.mktemp("run"), [table(0, names=["loss"])])
    sink = place.sink(Shouting())
    eventually(lambda: sink.offset == 1, what="delivery")
    assert sink.stop(drain=True, timeout=30)
    assert "file can't take the name 'loss' as it is: there it is 'LOSS'" in caplog.messages
