"""Each target of the fuzzer: on its corpus, and on what Hypothesis makes of valid inputs, for about ten seconds."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import inputs
from tests.fuzz.pieces import join, split
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"

Run = Callable[[bytes], None]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def target(name: str) -> Callable[..., Iterator[Run]]:
    """The target of that name, for all examples of a test."""

    def opened() -> Iterator[Run]:
        with TARGETS[name].opened() as run:
            yield run

    return pytest.fixture(scope="module", name=name)(opened)


messages, codec, remains, journal, config, ingest = map(
    target, ("messages", "codec", "remains", "journal", "config", "ingest")
)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_pieces_come_back(pieces: list[bytes]) -> None:
    assert split(join(pieces), 5) == pieces


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_taken(request: pytest.FixtureRequest, name: str) -> None:
    run = request.getfixturevalue(name)
    files = sorted((CORPUS / name).iterdir())
    assert files
    for file in files:
        run(file.read_bytes())


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nothing is logged: pytest keeps it all."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_a_daemon_that_has_seen_it_all_keeps_nothing(ingest: Run, quiet: None) -> None:
    plays = [file.read_bytes() for file in sorted((CORPUS / "ingest").iterdir())]
    for play in plays:
        ingest(play)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(3):
        for play in plays:
            ingest(play)
    gc.collect()
    assert len(gc.get_objects()) < before + len(plays)


@given(data=inputs.a_message())
@settings(max_examples=4000)
def test_messages(messages: Run, data: bytes) -> None:
    messages(data)


@given(data=inputs.a_payload())
@settings(max_examples=1500, suppress_health_check=SLOW)
def test_payloads(codec: Run, data: bytes) -> None:
    codec(data)


@given(data=inputs.what_is_left())
@settings(max_examples=1200, suppress_health_check=SLOW)
def test_rings_and_spools(remains: Run, data: bytes) -> None:
    remains(data)


@given(data=inputs.edits())
@settings(max_examples=1200)
def test_journals(journal: Run, data: bytes) -> None:
    journal(data)


@given(data=inputs.a_setting())
@settings(max_examples=1500, suppress_health_check=SLOW)
def test_settings(config: Run, data: bytes) -> None:
    config(data)


@given(data=inputs.a_play())
@settings(max_examples=250, suppress_health_check=SLOW)
def test_plays(ingest: Run, data: bytes) -> None:
    ingest(data)
