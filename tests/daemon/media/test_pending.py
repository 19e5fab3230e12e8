"""What is pending, what of it is counted, and what a rank may write over."""

from __future__ import annotations

import pytest

from asynclog_proto.media import Media, Place, Section
from asynclogd.media import pending as module
from asynclogd.media.pending import DROPPED_PAYLOAD, PendingMedia, encoded_payload, refused_payload
from asynclogd.points import Blob

BLOB = Blob("ab" * 16, 1, 36, 2)
DONE = encoded_payload("text/markdown", {"width": 3}, BLOB)


def text(step: int = 0, body: bytes | Place = b"hi") -> Media:
    size = body.size if isinstance(body, Place) else len(body)
    return Media("note", step, 1.5, "text", (Section("text", "text", (size,)),), {"caption": "c"}, body)


@pytest.fixture(params=["as it is", "restored after each call"])
def media(request: pytest.FixtureRequest) -> list[PendingMedia]:
    """A list of one; what `keep` leaves in it goes on."""
    return [PendingMedia(), *([PendingMedia()] if request.param != "as it is" else [])]


def keep(media: list[PendingMedia]) -> PendingMedia:
    if len(media) > 1:
        media[0] = PendingMedia.of(media[0].fields())
    return media[0]


def test_one_that_is_encoded_comes_out_as_an_item(media: list[PendingMedia]) -> None:
    media[0].add(4, 17, 3, 2, text(9))
    assert (len(keep(media)), media[0].taken) == (1, 1)
    item = media[0].finish(4, 17, DONE)
    assert item is not None
    assert (item.name, item.rank, item.generation, item.step, item.time) == ("note/rank3", 3, 2, 9, 1.5)
    assert (item.kind, item.form, item.blob) == ("text", "text/markdown", BLOB)
    assert item.options == {"caption": "c", "width": 3}
    assert len(keep(media)) == 0
    assert media[0].finish(4, 17, DONE) is None


def test_rank_0_has_the_plain_name() -> None:
    media = PendingMedia()
    media.add(1, 0, 0, 0, text())
    item = media.finish(1, 0, DONE)
    assert item is not None
    assert item.name == "note"


def test_one_that_is_refused_is_counted_with_its_reason(media: list[PendingMedia]) -> None:
    for seq in range(3):
        media[0].add(1, seq, 0, 0, text())
        assert keep(media).finish(1, seq, refused_payload("too wide" if seq else "x" * 1000)) is None
    standing = keep(media).standing()
    assert dict(standing.dropped) == {"media_refused": 3}
    assert dict(standing.reasons) == {"x" * 300: 1, "too wide": 2}


def test_one_that_its_rank_has_dropped_is_counted_and_no_refusal(media: list[PendingMedia]) -> None:
    for seq in range(3):
        media[0].add(1, seq, 0, 0, text(body=Place(1, seq * 2, 2)))
    for seq in range(3):
        assert keep(media).finish(1, seq, DROPPED_PAYLOAD) is None
        assert media[0].finish(1, seq, DROPPED_PAYLOAD) is None
    standing = keep(media).standing()
    assert (standing.pending, standing.taken, dict(standing.dropped)) == (0, 3, {"media_full": 3})
    assert not standing.reasons


def test_reasons_are_bounded_and_none_is_left_out() -> None:
    media = PendingMedia()
    for seq in range(100):
        media.add(1, seq, 0, 0, text())
        media.finish(1, seq, refused_payload(f"reason {seq}"))
    reasons = dict(media.standing().reasons)
    assert len(reasons) == module.MOST_REASONS + 1
    assert sum(reasons.values()) == 100


def test_values_are_open_until_they_are_encoded(media: list[PendingMedia]) -> None:
    for seq in range(5):
        media[0].add(1, seq, 0, 0, text(step=seq))
    media[0].add(2, 0, 1, 0, text(step=0))
    assert [keep(media).open_values(1, up_to) for up_to in (None, -1, 0, 3)] == [5, 0, 1, 4]
    media[0].finish(1, 0, DONE)
    assert keep(media).open_values(1, 0) == 0
    assert media[0].open_values(2, None) == 1


def test_each_one_is_fresh_once() -> None:
    media = PendingMedia()
    media.add(1, 0, 0, 0, text())
    media.add(1, 1, 0, 0, text())
    media.finish(1, 0, DONE)
    assert [each.seq for each in media.standing().fresh] == [1]
    assert media.standing().fresh == ()
    assert [each.seq for each in PendingMedia.of(media.fields()).standing().fresh] == [1]


def test_an_outbox_is_freed_up_to_the_lowest_body_that_is_needed(media: list[PendingMedia]) -> None:
    for seq, offset in enumerate((100, 0, 300)):  # a body that comes from a device may have its record late
        media[0].add(1, seq, 0, 0, text(body=Place(0, offset, 50)))
    media[0].add(1, 3, 0, 0, text(body=Place(2, 0, 50)))
    freed = []
    for seq in (0, 3, 1, 2):
        freed.append(dict(keep(media).standing().freed)[1])
        media[0].finish(1, seq, DONE)
    assert [*freed, dict(keep(media).standing().freed)[1]] == [0, 0, 0, 300, 350]


def test_files_of_the_spool_are_spent_when_a_later_one_is_begun_and_theirs_are_encoded(
    media: list[PendingMedia],
) -> None:
    for seq, file in enumerate((1, 1, 2, 3)):
        media[0].add(1, seq, 0, 0, text(body=Place(file, 0, 50)))
    spent = []
    for seq in (2, 0, 3, 1):
        spent.append(dict(keep(media).standing().spent)[1])
        media[0].finish(1, seq, DONE)
    assert [*spent, dict(keep(media).standing().spent)[1]] == [1, 1, 1, 1, 3]
    assert media[0].standing().freed == ()


def test_a_stream_without_an_outbox_is_told_nothing() -> None:
    media = PendingMedia()
    media.add(1, 0, 0, 0, text())
    media.add(1, 1, 0, 0, text(body=Place(1, 0, 5)))
    assert media.standing().freed == ()


@pytest.mark.cap("pending-media")
@pytest.mark.parametrize(("limit", "value"), [("MOST_PENDING", 3), ("MOST_PENDING_BYTES", 200)])
def test_what_comes_beyond_the_bounds_is_dropped_and_frees_its_place(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(module, limit, value)
    media = PendingMedia()
    for seq in range(10):
        media.add(1, seq, 0, 0, text(body=Place(0, 10 * seq, 10)))
    standing = media.standing()
    assert standing.pending + dict(standing.dropped)["media_full"] == 10
    assert standing.pending in (2, 3)
    for seq in range(10):
        media.finish(1, seq, DONE)
    assert dict(media.standing().freed) == {1: 100}
    media.add(1, 10, 0, 0, text())
    assert len(media) == 1
