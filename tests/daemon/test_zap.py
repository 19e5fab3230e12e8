"""Who may come in, by what libzmq asks."""

from __future__ import annotations

import pytest

from asynclogd.zap import Verdict, judge

KEY, OTHER = bytes(range(32)), bytes(32)


def question(domain: bytes, address: bytes, mechanism: bytes, *credentials: bytes) -> list[bytes]:
    return [b"1.0", b"7", domain, address, b"", mechanism, *credentials]


def test_on_ipc_a_process_of_this_user_comes_in_and_of_root() -> None:
    assert judge(question(b"ipc", b"localhost:1000:1000:4242", b"NULL"), 1000, {}) == Verdict(b"200", "OK", "1000")
    assert judge(question(b"ipc", b"localhost:0:0:4242", b"NULL"), 1000, {}).code == b"200"


def test_on_ipc_a_process_of_another_user_does_not() -> None:
    verdict = judge(question(b"ipc", b"localhost:1001:1000:4242", b"NULL"), 1000, {})
    assert verdict == Verdict(b"400", "it is of user 1001")


@pytest.mark.parametrize(
    "address", [b"", b"localhost", b"127.0.0.1", b"localhost::1000:1", b"localhost:x:0:1", b"\xff"]
)
def test_on_ipc_a_process_that_nobody_knows_does_not(address: bytes) -> None:
    assert judge(question(b"ipc", address, b"NULL"), 1000, {}).code == b"400"


def test_on_tcp_an_allowed_key_comes_in_by_its_name() -> None:
    verdict = judge(question(b"tcp", b"10.0.0.2", b"CURVE", KEY), 1000, {KEY: "node1"})
    assert verdict == Verdict(b"200", "node1", KEY.hex())


@pytest.mark.parametrize(
    ("mechanism", "credentials"),
    [
        (b"CURVE", [OTHER]),
        (b"CURVE", []),
        (b"CURVE", [KEY, KEY]),
        (b"NULL", []),
        (b"NULL", [KEY]),
        (b"PLAIN", [KEY, KEY]),
    ],
)
def test_on_tcp_nobody_else_does(mechanism: bytes, credentials: list[bytes]) -> None:
    verdict = judge(question(b"tcp", b"localhost:1000:1000:1", mechanism, *credentials), 1000, {KEY: "node1"})
    assert verdict.code in (b"300", b"400")
    assert verdict.user == ""


@pytest.mark.parametrize("request_", [[], [b"1.0"], [b"2.0", b"7", b"ipc", b"localhost:0:0:1", b"", b"NULL"]])
def test_what_is_no_question_is_an_error(request_: list[bytes]) -> None:
    assert judge(request_, 0, {}).code == b"500"


@pytest.mark.parametrize("domain", [b"", b"global", b"IPC"])
def test_a_domain_of_nobody_lets_nobody_in(domain: bytes) -> None:
    assert judge(question(domain, b"localhost:0:0:1", b"NULL"), 0, {}).code == b"400"
