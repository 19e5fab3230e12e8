"""How often something is looked at."""

from __future__ import annotations

from itertools import pairwise

import pytest

from asynclogd.lookout import SILENT_SECONDS, Lookout


def looks(lookout: Lookout, now: float, until: float, *, stirred: bool) -> list[float]:
    times = [now]
    while times[-1] < until:
        times.append(times[-1] + lookout.next_wait(times[-1], stirred=stirred))
    return times


def test_while_anything_stirs_looks_are_frequent() -> None:
    times = looks(Lookout(0.25), 100.1, 130, stirred=True)
    assert max(later - earlier for earlier, later in pairwise(times)) <= 0.25 + 1e-9


def test_in_silence_they_become_rare_at_moments_that_others_share() -> None:
    one, other = (looks(Lookout(quick), 100.1, 130, stirred=False) for quick in (0.25, 0.5))
    assert one[-5:] == pytest.approx(other[-5:])
    assert {round(later - earlier, 6) for earlier, later in pairwise(one[-5:])} == {SILENT_SECONDS}


def test_what_stirs_brings_them_back_at_once() -> None:
    lookout = Lookout(0.25)
    now = looks(lookout, 100.1, 130, stirred=False)[-1]
    assert lookout.next_wait(now, stirred=True) <= 0.25


def test_a_slower_lookout_stays_as_slow() -> None:
    times = looks(Lookout(5.0), 100.0, 150, stirred=False)
    assert {round(later - earlier, 6) for earlier, later in pairwise(times)} == {5.0}
