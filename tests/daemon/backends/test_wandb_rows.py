from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends._wandbrows import RowFormat

CELLS = st.lists(
    st.tuples(st.text(max_size=20) | st.just("n" * 2000), st.integers() | st.just("x" * 20_000)), max_size=5
)


@pytest.mark.sdk
@given(st.integers(1, 2**40), st.integers(0, 2**40), CELLS)
def test_a_row_is_what_the_sdks_own_class_makes(num: int, row: int, cells: list[tuple[str, int | str]]):
    from wandb.proto import wandb_internal_pb2

    record = wandb_internal_pb2.Record(num=num)
    record.history.step.num = row
    for key, value in cells:
        record.history.item.add(nested_key=[key], value_json=str(value))
    spelling = RowFormat(wandb_internal_pb2)
    heads, texts = [spelling.head(key) for key, _ in cells], [str(value).encode() for _, value in cells]
    assert wandb_internal_pb2.Record.FromString(spelling.record(num, row, heads, texts)) == record
