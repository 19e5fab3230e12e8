"""Hypothesis strategies for whatever may travel: records, messages, and MessagePack values that are neither."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from asynclog_proto import frames, limits, records
from asynclog_proto.frames import Hello
from asynclog_proto.records import Define, End, Hold, Layout, Params, Pass, Rewind, Row, Summary
from asynclog_proto.reductions import REDUCTIONS

int64 = st.integers(-(1 << 63), (1 << 63) - 1)
counts = st.integers(0, (1 << 63) - 1)
floats = st.floats(allow_nan=False)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | floats | names
HELLO = Hello("vision", "run-1", "/data/runs", 0, 2, "a1b2", "launch", 0, 42, "node")

any_record = st.one_of(
    st.builds(Row, st.integers(0, (1 << 32) - 1), int64, floats, floats, st.lists(floats, min_size=1).map(tuple)),
    st.builds(Layout, st.integers(0, (1 << 32) - 1), st.lists(names, min_size=1, unique=True).map(tuple)),
    st.builds(
        Define,
        names,
        st.lists(st.sampled_from(REDUCTIONS), min_size=1, unique=True).map(tuple),
        st.booleans(),
        st.just("") | names,
        st.booleans(),
    ),
    st.builds(Params, st.dictionaries(names, scalars, max_size=8)),
    st.builds(Summary, st.dictionaries(names, scalars, max_size=8)),
    st.builds(End, st.sampled_from(records.STATUSES)),
    st.builds(Pass, int64),
    st.builds(Hold, st.none() | int64),
    st.builds(Rewind, int64),
)
msgpack_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | names | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=4),
)
plain = st.recursive(
    st.none() | st.booleans() | counts | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(texts, plain, max_size=4)
drops = st.dictionaries(texts, counts, max_size=4)
seconds = st.none() | st.floats(0.0, allow_infinity=False)
messages = st.one_of(
    st.builds(
        replace,
        st.just(HELLO),
        rank=st.integers(0, 7),
        world_size=st.integers(8, limits.MAX_WORLD_SIZE),
        first_seq=counts,
        host=texts,
        client=texts,
        backends=st.none() | st.dictionaries(texts, st.none() | maps, max_size=3),
        ring=st.sampled_from(["", "/dev/shm/asynclog-0/x.ring"]),
    ),
    st.builds(frames.Heartbeat, st.integers(-(1 << 63), (1 << 63) - 1), counts, drops, seconds, seconds),
    st.builds(frames.Finish, counts, drops),
    st.builds(frames.Query, texts),
    st.builds(frames.Flush, counts, st.integers(-(1 << 63), (1 << 63) - 1)),
    st.builds(frames.Flushed, counts),
    st.builds(frames.Ask, counts, counts, texts.filter(bool), st.none() | st.integers(-(1 << 63), (1 << 63) - 1)),
    st.builds(frames.Value, counts, st.none() | st.floats(allow_nan=False), texts),
    st.builds(frames.AddBackend, st.just("vision"), st.just("run-1"), st.just("/data"), texts, maps),
    st.builds(frames.Welcome, counts, counts, st.text(max_size=20), st.none() | st.integers(-(1 << 63), (1 << 63) - 1)),
    st.builds(frames.Ack, counts, counts),
    st.builds(frames.Reset, texts),
    st.builds(frames.Refused, texts, st.lists(counts, max_size=3).map(tuple)),
    st.builds(frames.Ledger, st.booleans(), maps),
    st.builds(frames.Report, maps),
)
