"""Hypothesis strategies for what targets take: what is valid, with a part that is not."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields, replace

from hypothesis import strategies as st

from asynclog_proto import frames, records, spoolfile, wire
from asynclog_proto.frames import Batch, Hello, Message
from asynclog_proto.media import Media, Place, Section
from asynclog_proto.records import End, Layout, Pass, Record, Row
from tests.fuzz import ingest, journal, remains
from tests.fuzz.pieces import join
from tests.proto.strategies import any_record, counts, floats, int64, messages, plain

WRONG = plain | st.binary(max_size=4) | int64
STEPS = st.integers(-2, 12) | int64
TIMES = st.floats(0, 1e12) | floats
TEXT = Media("note", 3, 1.0, "text", (Section("text", "text", (5,)),), {}, b"hello")
MEDIA = st.sampled_from(
    [TEXT, replace(TEXT, kind="image"), replace(TEXT, body=Place(0, 1 << 40, 5)), replace(TEXT, body=Place(3, 0, 5))]
)


@st.composite
def spoiled(draw: st.DrawFn, whole: bytes) -> bytes:
    """Half of the time as it was; else with some bytes changed, or cut, or some put in."""
    data = bytearray(whole)
    if not data or draw(st.booleans()):
        return whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
        data = data or bytearray(1)
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@st.composite
def a_message(draw: st.DrawFn) -> bytes:
    """A message of which one field is of any value, or bytes of its header are."""
    message = draw(messages | st.builds(Batch, st.integers(0, 1 << 40), st.integers(1, 9)))
    body = {each.name: getattr(message, each.name) for each in fields(message)}
    if draw(st.booleans()):
        body[draw(st.sampled_from(sorted(body)) if body else st.just("x"))] = draw(WRONG)
    parts = [draw(spoiled(wire.pack([frames.VERSION, message.TYPE, body])))]
    return join(parts + [draw(st.binary(max_size=20))] * draw(st.sampled_from([isinstance(message, Batch), 0, 1])))


@st.composite
def said(draw: st.DrawFn) -> list[bytes]:
    """Records of a stream: layouts, rows of them in runs, and others."""
    layouts = [Layout(number, tuple(draw(st.sets(st.sampled_from("abcde"), min_size=1)))) for number in range(3)]
    found: list[Record] = [*layouts]
    for _ in range(draw(st.integers(0, 6))):
        layout, step = draw(st.sampled_from(layouts)), draw(STEPS)
        row = Row(layout.layout, step, draw(TIMES), draw(st.just(1.0) | st.floats()), (0.5,) * len(layout.names))
        found += [row] * draw(st.sampled_from([1, 1, 2, 70]))
        found.append(draw(any_record | MEDIA | st.builds(Pass, STEPS) | st.just(row)))
    return [records.encode(record) for record in found]


@st.composite
def a_payload(draw: st.DrawFn) -> bytes:
    """A batch's payload, and how many records to skip."""
    return draw(st.sampled_from(b"\0\1\3\7")).to_bytes(1, "big") + draw(spoiled(b"".join(draw(said()))))


@dataclass
class Peer:
    """What a peer has sent, by which it knows what comes next."""

    number: int
    sent: list[bytes] = field(default_factory=list)

    def batch(self, draw: st.DrawFn) -> bytes:
        """New records; some of the former ones again ahead of them, a gap, a count that is wrong."""
        back = draw(st.sampled_from([0, 0, 0, 1, 3, 99]))
        first = max(0, len(self.sent) - back)
        self.sent += draw(said())
        new = self.sent[first:]
        ahead, wrong = (draw(st.sampled_from([0, 0, 0, 0, 0, 2])) for _ in range(2))
        payload = draw(spoiled(b"".join(new))) or b"\xc0"
        return self.message(draw, Batch(first + ahead, max(1, len(new) + wrong)), payload)

    def message(self, draw: st.DrawFn, message: Message, payload: bytes | None = None) -> bytes:
        """As the target takes it."""
        parts = [bytes(part) for part in frames.encode(message, payload)]
        return ingest.message(self.number, parts, at_once=draw(st.booleans()))


@st.composite
def a_play(draw: st.DrawFn) -> bytes:
    """Some peers, each with a stream of one run, and what they say beside one another."""
    peers = [Peer(number) for number in range(draw(st.integers(1, 3)))]
    hellos = st.builds(
        Hello, st.just("p"), st.just("run"), st.just(ingest.DIRECTORY), st.integers(0, 2), st.just(3),
        st.sampled_from(["a", "b", "c"]), st.sampled_from(["L", "M", "N+"]), st.just(0) | st.integers(0, 5),
        st.just(1), st.just("h"), backends=st.none() | st.just({}),
    )  # fmt: skip
    others = st.one_of(
        hellos,
        messages,
        st.builds(frames.Heartbeat, STEPS, counts, st.dictionaries(st.sampled_from("ab"), counts)),
        st.builds(frames.Flush, st.integers(0, 20), STEPS),
        st.builds(frames.Ask, counts, st.integers(0, 20), st.sampled_from("abx"), st.none() | STEPS),
        st.builds(frames.Finish, counts, st.just({})),
    )
    play = [peer.message(draw, draw(hellos)) for peer in peers]
    for _ in range(draw(st.integers(1, 8))):
        peer = draw(st.sampled_from(peers))
        play.append(peer.batch(draw) if draw(st.booleans()) else peer.message(draw, draw(others)))
    ends = draw(st.lists(st.sampled_from(peers), max_size=2))
    play += [
        peer.message(draw, Batch(len(peer.sent), 1), records.encode(End(draw(st.sampled_from(records.STATUSES)))))
        for peer in ends
    ]
    return b"".join(play)


@st.composite
def what_is_left(draw: st.DrawFn) -> bytes:
    """A ring or a spool of a dead rank, spoiled."""
    payload = b"".join(draw(said()))
    hello = bytes(frames.encode(Hello("p", "r", "/d", 0, 1, "i", "L", 0, 1, "h"))[0])
    if draw(st.booleans()):
        head = struct.pack("=7Q", len(payload), draw(st.sampled_from([len(payload), 1 << 63])), 0, 0, 0, 0, 0)
        return bytes([remains.RING]) + join([draw(spoiled(head)), hello]) + draw(spoiled(payload))
    segment = spoolfile.start(hello) + b"".join(spoolfile.entry(9 * n, 3, payload or b"x") for n in range(3))
    return bytes([remains.SPOOL]) + draw(spoiled(segment))


@st.composite
def edits(draw: st.DrawFn) -> bytes:
    """Of a journal's file."""
    kinds = st.sampled_from([journal.FLIP, journal.FLIP, journal.WRITE, journal.CUT, journal.ZEROS, journal.ROW])
    one = st.builds(journal.edit, kinds, st.integers(0, (1 << 32) - 1), st.binary(max_size=40) | plain.map(wire.pack))
    return join(draw(st.lists(one, min_size=1, max_size=4)))


_VALUES = ["1", "-1", "0.5", "inf", "nan", "true", '"fsync"', '"30d"', "[]", "{}", "99999999999999999999", "2026-01-01"]
_KEYS = [
    *("daemon.durability", "daemon.idle_timeout", "daemon.credit_mb", "daemon.bind", "daemon.typo", "daemon"),
    *("host_metrics.interval", "prometheus.port", "prometheus.enabled", "retention.keep_size", "backends"),
    *("backends.csv.rate_limit", "backends.csv.since", "backends.csv", "backends.none.x", "backends.jsonl.delivery"),
]


@st.composite
def a_setting(draw: st.DrawFn) -> bytes:
    """A file, variables and arguments, of which some say what is allowed."""
    keys, values = st.sampled_from(_KEYS), st.sampled_from(_VALUES)
    lines = draw(st.lists(st.tuples(keys, values), max_size=4, unique_by=lambda pair: pair[0]))
    file = "\n".join(f"{key} = {value}" for key, value in lines).encode()
    set_ = draw(st.lists(st.tuples(keys, values), max_size=3))
    names = [f"ASYNCLOG_{key.replace('.', '_').upper()}={value}" for key, value in set_]
    names += [f"ASYNCLOG_{name}={draw(values)}" for name in draw(st.sets(st.sampled_from(["RING_MB", "FLUSH_MS"])))]
    options = ["--durability", "--no-host-metrics", "--backend", "csv", "fsync", "--bind", "--help", "x"]
    given = draw(st.lists(st.sampled_from(options), max_size=4))
    return join([draw(spoiled(file)), draw(spoiled("\n".join(names).encode())), "\n".join(given).encode()])
