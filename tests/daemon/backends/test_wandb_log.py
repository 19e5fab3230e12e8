from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends._wandblog import HEADER, LogFile, framed, records
from tests.daemon.backends import wandbreader

BLOCK = 1 << 15
SIZES = st.lists(st.integers(0, 20) | st.integers(BLOCK - 30, BLOCK + 30) | st.integers(0, 3 * BLOCK), max_size=12)


def content(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def log_of(path: Path, parts: list[bytes]) -> int:
    log = LogFile(path, 0, fsync=False)
    for part in parts:
        log.append(part)
    length = log.flush()
    log.close()
    return length


@given(SIZES)
def test_records_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]):
    path = tmp_path_factory.mktemp("log") / "run.wandb"
    parts = [content(number, size) for number, size in enumerate(sizes)]
    length = log_of(path, parts)
    assert length == path.stat().st_size
    assert list(records(path, length)) == parts


@given(st.integers(0, 2 * BLOCK), st.integers(0, 2 * BLOCK))
def test_no_header_crosses_a_block(at: int, size: int):
    place = at
    for chunk in framed(bytes(size), at):
        if chunk.strip(b"\0"):  # else it fills a block up
            assert place % BLOCK + 7 <= BLOCK
        place += len(chunk)


def test_a_log_goes_on_at_a_length_whatever_came_after(tmp_path: Path):
    path, parts = tmp_path / "run.wandb", [content(n, 9000 * n) for n in range(9)]
    length = log_of(path, parts[:5])
    for _ in range(2):
        log = LogFile(path, length, fsync=True)
        for part in parts[5:]:
            log.append(part)
        log.flush()
        log.close()
    assert list(records(path, path.stat().st_size)) == parts


def test_what_is_no_log_is_told(tmp_path: Path):
    path = tmp_path / "run.wandb"
    length = log_of(path, [b"one", b"two" * 100])
    good = path.read_bytes()
    for damaged, said in (
        (b"PK" + good[2:], "not a .wandb file"),
        (good[:-1] + b"!", "damaged"),
        (good[: len(HEADER) + 3], "header"),
        (good[:-1], "damaged"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=said):
            list(records(path, length))


@pytest.mark.sdk
def test_wandb_reads_records_wherever_the_blocks_end(tmp_path: Path):
    """Records of all lengths about a block's, so that one ends at each of the last places of some block."""
    from wandb.proto import wandb_internal_pb2

    texts = ["x" * (BLOCK - 60 + n) for n in range(60)] + ["y" * 100_000, ""]
    parts = []
    for number, text in enumerate(texts):
        record = wandb_internal_pb2.Record(num=number)
        record.config.update.add(nested_key=[f"k{number}"], value_json=f'"{text}"')
        parts.append(record.SerializeToString())
    directory = tmp_path / "offline-run-20260101_000000-a"
    directory.mkdir()
    log_of(directory / "run-a.wandb", parts)
    found = wandbreader.told(directory / "run-a.wandb")
    assert [told["update"] for _, told in found] == [{f"k{n}": text} for n, text in enumerate(texts)]
