"""The golden bytes: that they are what the code makes, and what a decoder that shares no code with it reads."""

from __future__ import annotations

import json
import runpy
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import umsgpack

from asynclog_proto import frames, kinds, limits, media, outboxfile, records, ringfile, spoolfile
from asynclog_proto.errors import ProtocolError

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "proto" / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def named(vector: dict[str, Any]) -> str:
    return str(vector["what"])


def test_the_committed_vectors_are_what_the_code_makes():
    made = runpy.run_path(str(HERE / "make_vectors.py"))["make"]()
    assert {path.name: path.read_text(encoding="utf-8") for path in VECTORS.glob("*.json")} == made


def test_every_kind_of_record_and_message_has_a_vector():
    assert {vector["record"][0] for vector in load("records.json")} == {records.ROW, *kinds._READERS}
    assert {vector["type"] for vector in load("frames.json")} == set(frames._TYPES)


@pytest.mark.parametrize("vector", load("records.json"), ids=named)
def test_an_independent_decoder_reads_the_same_record(vector):
    fields = umsgpack.unpackb(bytes.fromhex(vector["hex"]))
    if fields[0] == records.ROW:
        values = struct.unpack(f">{len(fields[5]) // 8}d", fields[5])
        fields[5] = [value if value - value == 0 else str(value) for value in values]
    if fields[0] == records.MEDIA and isinstance(fields[7], bytes):
        fields[7] = {"hex": fields[7].hex()}
    assert repr(fields) == repr(vector["record"])  # repr tells -0.0 from 0.0 and 1 from 1.0


@pytest.mark.parametrize("vector", load("frames.json"), ids=named)
def test_an_independent_decoder_reads_the_same_message(vector):
    parts = [bytes.fromhex(part) for part in vector["frames"]]
    body = {name: list(value) if isinstance(value, tuple) else value for name, value in vector["body"].items()}
    assert umsgpack.unpackb(parts[0]) == [vector["version"], vector["type"], body]
    message, payload = frames.decode(parts)
    assert type(message).__name__ == vector["name"]
    assert bytes(payload) == b"".join(parts[1:])


@pytest.mark.parametrize("vector", load("records.json"), ids=named)
def test_what_an_independent_encoder_writes_is_the_same_record(vector):
    """Any MessagePack form is allowed but for the row, so that clients may use the library they have."""
    data, fields = bytes.fromhex(vector["hex"]), vector["record"]
    if isinstance(fields[-1], dict) and "hex" in fields[-1]:
        fields = [*fields[:-1], bytes.fromhex(fields[-1]["hex"])]
    if fields[0] != records.ROW:
        assert records.decode(umsgpack.packb(fields)) == records.decode(data)


@pytest.mark.parametrize("vector", load("refused.json")["records"], ids=named)
def test_records_that_are_to_be_refused_are(vector):
    with pytest.raises(ProtocolError):
        records.decode(bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize("vector", load("refused.json")["frames"], ids=named)
def test_frames_that_are_to_be_refused_are(vector):
    with pytest.raises(ProtocolError):
        frames.decode([bytes.fromhex(part) for part in vector["frames"]], max_header=limits.MAX_REPORT_BYTES)


@pytest.mark.parametrize("vector", load("outbox.json"), ids=named)
def test_an_outbox_is_read_as_told(vector):
    data = bytes.fromhex(vector["hex"])
    assert outboxfile.capacity_of(data) == vector["capacity"] == len(data) - outboxfile.HEADER
    place = media.Place(0, **vector["places"][-1])
    start = outboxfile.at(place, vector["capacity"])
    assert data[start : start + place.size] == bytes.fromhex(vector["body"])


@pytest.mark.parametrize("vector", load("spool.json"), ids=named)
def test_spool_segments_are_read_as_told(vector):
    data = memoryview(bytes.fromhex(vector["hex"]))
    assert spoolfile.read_hello(data).hex() == vector["hello"]
    found = [
        {"first_seq": batch.first_seq, "count": batch.count, "payload": bytes(batch.payload).hex()}
        for batch in spoolfile.read_batches(data)
    ]
    assert found == vector["batches"]


@pytest.mark.skipif(sys.byteorder != "little", reason="a ring has its machine's byte order")
@pytest.mark.parametrize("vector", load("ring.json"), ids=named)
def test_rings_are_read_as_told(vector):
    header = bytes.fromhex(vector["header_hex"]).ljust(ringfile.HEADER, b"\0")
    data = memoryview(header + bytes.fromhex(vector["data_hex"]))
    state = ringfile.read_state(data)
    assert [bytes(record).hex() for record in ringfile.read_records(data, state)] == vector["records"]
    assert (state.tail_seq, state.issued) == (vector["tail_seq"], vector["issued"])
    assert {cause: count for cause, count in state.dropped.items() if count} == vector["dropped"]


def test_the_worked_example_of_the_specification_is_true():
    """Each hex dump in SPEC.md that says which vector it shows is that vector's bytes."""
    text = (HERE.parents[1] / "proto" / "SPEC.md").read_text(encoding="utf-8")
    vectors = {vector["what"]: vector for name in ("records.json", "frames.json") for vector in load(name)}
    shown = text.split("<!-- vector: ")[1:]
    assert len(shown) >= 4
    for part in shown:
        what, rest = part.split(" -->", 1)
        dump = rest.split("```")[1].removeprefix("text\n")
        given = "".join(line.split("|")[0] for line in dump.splitlines()).replace(" ", "")
        vector = vectors[what]
        assert given == "".join(vector.get("frames") or [vector["hex"]]), what
