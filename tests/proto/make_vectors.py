"""Makes proto/vectors/*.json: golden bytes of the protocol, for an implementation in another language.

Run it after a change that is meant to change bytes: `python tests/proto/make_vectors.py proto/vectors`.
"""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgpack

from asynclog_proto import frames, kinds, media, outboxfile, records, ringfile, spoolfile

HELLO = frames.Hello(
    project="vision",
    name="run-1",
    dir="/data/asynclog",
    rank=1,
    world_size=2,
    incarnation="5f0c9a31",
    launch="job-77",
    first_seq=0,
    pid=4242,
    host="node-3",
    ring="/dev/shm/asynclog-1000/rings/a1b2c3d4e5f6-1-5f0c9a31.ring",
    spool="/data/asynclog/vision/run-1/spool/1-5f0c9a31",
    outbox="/dev/shm/asynclog-1000/rings/a1b2c3d4e5f6-1-5f0c9a31.outbox",
    backends={"tensorboard": {}, "csv": {"flush": 2.5}},
    client="asynclog 0.1.0",
)
LAYOUT = records.Layout(0, ("loss", "acc"))
ROW = records.Row(0, 7, 1700000000.25, 1.0, (0.5, 0.25))
ALL_RECORDS: dict[str, records.Record] = {
    "layout of two names": LAYOUT,
    "layout with the largest number and a name beyond ASCII": records.Layout((1 << 32) - 1, ("größe/層",)),
    "row of that layout": ROW,
    "row with a negative step, a weight and values that JSON lacks": records.Row(
        3, -1, 0.0, 32.0, (float("nan"), float("inf"), float("-inf"), -0.0)
    ),
    "define of one reduction": records.Define("loss", ("mean",)),
    "define of several and a series per rank": records.Define("time/*", ("mean", "min", "max"), per_rank=True),
    "define of a lane with steps of its own": records.Define("val/*", ("mean",), lane="val_step", own_steps=True),
    "params of every type": records.Params(
        {"lr": 0.001, "layers": 12, "seed": -(1 << 63), "big": (1 << 64) - 1, "amp": True, "opt": "adam", "none": None}
    ),
    "summary": records.Summary({"best/acc": 0.75}),
    "end": records.End("success"),
    "end by Ctrl-C": records.End("interrupted"),
    "pass": records.Pass(41),
    "pass of a rank that has logged nothing": records.Pass(-1),
    "hold": records.Hold(42),
    "hold taken back": records.Hold(None),
    "media whose body is in the record": records.Media(
        "samples/text", 7, 1700000000.25, "text", (media.Section("text", "text", (5,)),), {}, b"hello"
    ),
    "media whose body is in the outbox": records.Media(
        "samples/image",
        7,
        1700000000.25,
        "image",
        (media.Section("image", "float32", (3, 32, 32)), media.Section("boxes", "float32", (1, 4))),
        {"dataformats": "CHW", "caption": "größe", "rescale": 0.5},
        media.Place(0, 1 << 20, 12304),
    ),
    "media whose body is in the spool": records.Media(
        "weights",
        -1,
        0.0,
        "histogram",
        (media.Section("values", "bfloat16", (64, 100)),),
        {"bins": 30},
        media.Place(2, 512, 12800),
    ),
    "media without a body": records.Media(
        "model",
        9,
        1700000000.25,
        "file",
        (),
        {"path": "/data/model.pt", "artifact": "model.pt", "type": "checkpoint", "size": 5000},
        b"",
    ),
    "rewind": records.Rewind(41),
}
ALL_MESSAGES: dict[str, frames.Message] = {
    "hello with every field": HELLO,
    "heartbeat before any step": frames.Heartbeat(-1, 0, {}),
    "heartbeat": frames.Heartbeat(41, 820, {"bad_value": 2}),
    "heartbeat that says what log() costs": frames.Heartbeat(41, 820, {}, 4.1e-07, 0.25),
    "finish": frames.Finish(1000, {"bad_value": 2}),
    "query": frames.Query("status"),
    "one more backend for a run": frames.AddBackend(
        "vision", "run-1", "/data/asynclog", "mlflow", {"tracking_uri": "http://mlflow:5000", "names": ["train/*"]}
    ),
    "flush": frames.Flush(57, 41),
    "ask": frames.Ask(3, 57, "val/loss", 41),
    "ask for the last step": frames.Ask(4, 57, "val/loss", None),
    "welcome": frames.Welcome(0, 8 << 20),
    "welcome to a run that is resumed": frames.Welcome(0, 8 << 20, step=41),
    "ack": frames.Ack(2, 8 << 20),
    "ack that frees the outbox": frames.Ack(2, 8 << 20, 1060880),
    "reset": frames.Reset("unknown stream"),
    "reset of a stream that has to wait": frames.Reset("disk full", "the daemon can't take this run now: disk full"),
    "refused": frames.Refused("rank 1 of this world is taken"),
    "ledger": frames.Ledger(complete=True, ledger={"issued": 1000, "dropped": {"bad_value": 2}}),
    "report": frames.Report({"runs": []}),
    "flushed": frames.Flushed(57),
    "value": frames.Value(3, 0.1),
    "value that there is not": frames.Value(4, None, "no rank logged val/loss at step 41"),
}
REFUSED_RECORDS = {
    "no array": msgpack.packb({"kind": 6}),
    "unknown kind": msgpack.packb([99, "success"]),
    "media with too few fields": msgpack.packb([9, "success"]),
    "media of an unknown kind": msgpack.packb([9, "a", 0, 0.0, "smell", [], {}, b""]),
    "media with a time that is no float": msgpack.packb([9, "a", 0, 0, "text", [], {}, b""]),
    "media with an unknown dtype": msgpack.packb([9, "a", 0, 0.0, "text", [["text", "str", [1]]], {}, b"a"]),
    "media whose sections are larger than the body": msgpack.packb(
        [9, "a", 0, 0.0, "text", [["text", "text", [2]]], {}, b"a"]
    ),
    "media of more than a body may have": msgpack.packb(
        [9, "a", 0, 0.0, "audio", [["audio", "uint8", [1 << 30]]], {}, [0, 0, 1 << 30]]
    ),
    "media with a body of two numbers": msgpack.packb([9, "a", 0, 0.0, "text", [["text", "text", [2]]], {}, [0, 2]]),
    "media with a nested option": msgpack.packb([9, "a", 0, 0.0, "text", [], {"a": [[1]]}, b""]),
    "row with a short step": msgpack.packb([1, 0, 7, 0.0, 1.0, struct.pack(">d", 0.5)]),
    "row cut short": records.encode(ROW)[:-1],
    "row without values": records.row_struct(0).pack(*records.row_head(0, 0, 0.0, 1.0, 0)),
    "layout with a name twice": msgpack.packb([2, 0, ["a", "a"]]),
    "layout with an empty name": msgpack.packb([2, 0, [""]]),
    "name that is not UTF-8": b"\x93\x02\x00\x91\xa2\xff\xfe",
    "name with a surrogate": b"\x93\x02\x00\x91\xa3\xed\xa0\x80",
    "unknown reduction": msgpack.packb([3, "a", {"reduce": ["median"]}]),
    "params with a nested value": msgpack.packb([4, {"a": [1]}]),
    "params with a key twice": b"\x92\x04\x82\xa1a\x01\xa1a\x02",
    "params with a number as key": b"\x92\x04\x81\x01\x02",
    "extension type": b"\x92\x04\x81\xa1a\xd6\xff\x00\x00\x00\x00",
    "unknown status": msgpack.packb([6, "done"]),
    "pass without a step": msgpack.packb([7, None]),
    "pass with a step beyond 64 bits": msgpack.packb([7, 1 << 63]),
    "hold with a float as step": msgpack.packb([8, 1.0]),
    "rewind without a step": msgpack.packb([10, None]),
    "bytes after the record": records.encode(records.End("success")) + b"\xc0",
}
REFUSED_FRAMES = {
    "another version": [msgpack.packb([2, 17, {"next_seq": 0, "credit": 0}])],
    "unknown type": [msgpack.packb([1, 99, {}])],
    "missing field": [msgpack.packb([1, 17, {"next_seq": 0}])],
    "ask for no name": [msgpack.packb([1, 7, {"number": 0, "next_seq": 0, "name": "", "step": 1}])],
    "value that is an integer": [msgpack.packb([1, 23, {"number": 0, "value": 1}])],
    "negative count": [msgpack.packb([1, 17, {"next_seq": -1, "credit": 0}])],
    "float for an integer": [msgpack.packb([1, 17, {"next_seq": 1.0, "credit": 0}])],
    "bool for an integer": [msgpack.packb([1, 17, {"next_seq": True, "credit": 0}])],
    "batch without payload": [msgpack.packb([1, 2, {"first_seq": 0, "count": 1}])],
    "batch of nothing": [msgpack.packb([1, 2, {"first_seq": 0, "count": 0}]), b"\x00"],
    "payload behind an ack": [msgpack.packb([1, 17, {"next_seq": 0, "credit": 0}]), b"\x00"],
    "nested too deep": [b"\x93\x01\x15\x81\xa6report" + b"\x91" * 9 + b"\x01"],
}


def meaning_of_record(record: records.Record) -> list[Any]:
    """The MessagePack array as JSON; a row's binary values as numbers, those that JSON lacks as text, a body as hex."""
    if isinstance(record, records.Row):
        values = [value if value - value == 0 else str(value) for value in record.values]
        return [records.ROW, record.layout, record.step, record.time, record.weight, values]
    if isinstance(record, records.Media) and isinstance(record.body, bytes):
        return [*kinds.to_fields(record)[:-1], {"hex": record.body.hex()}]
    return kinds.to_fields(record)


def meaning_of_message(message: frames.Message) -> dict[str, Any]:
    body = {field.name: getattr(message, field.name) for field in fields(message)}
    return {"version": frames.VERSION, "type": message.TYPE, "name": type(message).__name__, "body": body}


def record_vectors() -> list[dict[str, Any]]:
    return [
        {"what": what, "record": meaning_of_record(record), "hex": records.encode(record).hex()}
        for what, record in ALL_RECORDS.items()
    ]


def frame_vectors() -> list[dict[str, Any]]:
    vectors = [
        {"what": what, **meaning_of_message(message), "frames": [bytes(part).hex() for part in frames.encode(message)]}
        for what, message in ALL_MESSAGES.items()
    ]
    batch, payload = frames.Batch(0, 2), records.encode(LAYOUT) + records.encode(ROW)
    parts = [bytes(part).hex() for part in frames.encode(batch, payload)]
    return [*vectors, {"what": "batch of a layout and a row", **meaning_of_message(batch), "frames": parts}]


def spool_vectors() -> list[dict[str, Any]]:
    hello = bytes(frames.encode(HELLO)[0])
    layout, row = records.encode(LAYOUT), records.encode(ROW)
    first, second = spoolfile.entry(0, 1, layout), spoolfile.entry(1, 1, row)
    spoiled = bytearray(first)
    spoiled[-1] ^= 1
    start = spoolfile.start(hello)
    segments = {
        "a segment of two batches": (start + first + second, 0, 2),
        "cut in its last entry": (start + first + second[:-1], 0, 1),
        "first batch spoiled": (start + bytes(spoiled) + second, 1, 2),
    }
    read = [
        {"first_seq": 0, "count": 1, "payload": layout.hex()},
        {"first_seq": 1, "count": 1, "payload": row.hex()},
    ]
    return [
        {"what": what, "hello": hello.hex(), "batches": read[begin:end], "hex": data.hex()}
        for what, (data, begin, end) in segments.items()
    ]


def ring_vectors() -> list[dict[str, Any]]:
    """A ring of 128 bytes, little-endian, after a lap: rows 2 and 3 are held, a PAD fills the first lap."""
    row = records.encode(ROW)
    capacity = 128
    lap = (row + row).ljust(capacity, b"\0")
    data = bytearray(row + lap[len(row) :])
    data[2 * len(row)] = records.PAD
    head = bytearray(ringfile.header(capacity, b""))
    struct.pack_into("<Q", head, ringfile.HEAD, capacity + len(row))
    struct.pack_into("<Q", head, ringfile.SELECTOR, 1)
    struct.pack_into("<QQ", head, ringfile.TAILS[1], len(row), 2)
    struct.pack_into("<QQ", head, ringfile.ISSUED, 7, 1)
    used = ringfile.HELLO + 4
    return [
        {
            "what": "two rows held, the second after the wrap",
            "header_hex": bytes(head[:used]).hex(),
            "header_rest": f"{ringfile.HEADER - used} zero bytes",
            "data_hex": bytes(data).hex(),
            "tail_seq": 2,
            "issued": 7,
            "dropped": {"bad_value": 1},
            "records": [row.hex(), row.hex()],
        }
    ]


def outbox_vectors() -> list[dict[str, Any]]:
    """An outbox of 100 bytes: one body in its first lap, the next begins the second, where the first was freed."""
    capacity, bodies = 100, (b"a" * 60, b"b" * 50)
    tail, head, data, placed = 0, 0, bytearray(capacity), []
    for body in bodies:
        offset = outboxfile.fit(tail, head, len(body), capacity)
        assert offset is not None
        start = outboxfile.at(media.Place(0, offset, len(body)), capacity) - outboxfile.HEADER
        data[start : start + len(body)] = body
        placed.append({"offset": offset, "size": len(body)})
        tail = head = offset + len(body)
    return [
        {
            "what": "the second of two bodies, after the first was freed",
            "hex": (outboxfile.header(capacity) + bytes(data)).hex(),
            "capacity": capacity,
            "places": placed,
            "body": bodies[-1].hex(),
        }
    ]


def make() -> dict[str, str]:
    """Each file's name and text."""
    refused = {
        "records": [{"what": what, "hex": bytes(data).hex()} for what, data in REFUSED_RECORDS.items()],
        "frames": [
            {"what": what, "frames": [bytes(part).hex() for part in parts]} for what, parts in REFUSED_FRAMES.items()
        ],
    }
    files: dict[str, Any] = {
        "records.json": record_vectors(),
        "frames.json": frame_vectors(),
        "spool.json": spool_vectors(),
        "ring.json": ring_vectors(),
        "outbox.json": outbox_vectors(),
        "refused.json": refused,
    }
    return {
        name: json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for name, content in files.items()
    }


if __name__ == "__main__":
    for name, text in make().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")
