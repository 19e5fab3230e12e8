"""What anybody on the node can do to the port of `/metrics`: read it, and nothing else; the daemon goes on."""

from __future__ import annotations

import contextlib
import http.client
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from asynclog_proto import places
from asynclogd import talk
from tests.e2e.conftest import Start
from tests.faults.probe import expect_to_get_through

Eventually = Callable[..., None]
Scraped = Callable[[], bytes]

DESCRIPTORS = 256


@pytest.fixture
def daemon(start: Start, runtime_dir: Path, tmp_path: Path, eventually: Eventually) -> Iterator[psutil.Process]:
    """A daemon with a port for Prometheus, and few file descriptors; after the test a rank can log there."""
    command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics"]
    limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", *command]
    process = start(*limited, ASYNCLOG_PROMETHEUS_ENABLED="true", ASYNCLOG_PROMETHEUS_PORT="0")
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    yield psutil.Process(process.pid)
    expect_to_get_through(runtime_dir, tmp_path)


@pytest.fixture
def address(daemon: psutil.Process, runtime_dir: Path, eventually: Eventually) -> tuple[str, int]:
    """Where the port is."""

    def url() -> str:
        told: str = talk.ask(places.endpoint(runtime_dir), timeout=30)["prometheus"]["url"]
        return told

    eventually(url, what="the port")
    host, port = url().removeprefix("http://").removesuffix("/metrics").split(":")
    assert host == "127.0.0.1"
    return host, int(port)


def asked(address: tuple[str, int], method: str, path: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        connection.putrequest(method, path, skip_host=True)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextlib.contextmanager
def open_connections(address: tuple[str, int], count: int, data: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(count)]
        for connection in made:
            with contextlib.suppress(OSError):
                connection.sendall(data)
        yield made


def serves(address: tuple[str, int], daemon: psutil.Process) -> None:
    status, body = asked(address, "GET", "/metrics")
    assert status == 200
    assert b"asynclog_daemon_info" in body
    assert daemon.is_running()
    assert daemon.memory_info().rss < 200 << 20


@pytest.mark.fault("http-hostile")
def test_it_is_read_only_whatever_is_asked(address: tuple[str, int], daemon: psutil.Process) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD", "TRACE", "CONNECT", "SHUTDOWN"):
        assert asked(address, method, "/metrics")[0] in (405, 501), method
    for path in ("/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/metrics?name[]=../../etc"):
        status, body = asked(address, "GET", path)
        assert status in (200, 404), path
        assert b"root:" not in body
    serves(address, daemon)


NO_REQUESTS = (
    b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 100_000 + b"\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"\xff\xfe\0" * 1000 + b"\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
)


@pytest.mark.fault("http-hostile")
def test_what_is_no_request_is_turned_away(address: tuple[str, int], daemon: psutil.Process) -> None:
    for data in NO_REQUESTS:
        with socket.create_connection(address, timeout=30) as connection:
            answer = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
                with contextlib.suppress(OSError):  # where it has ended the connection by now
                    connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(4096):
                    answer += part
        assert b"HTTP/1.0 200" not in answer
        serves(address, daemon)


@pytest.mark.fault("http-hostile")
def test_slow_requests_take_neither_all_threads_nor_all_descriptors(
    address: tuple[str, int], daemon: psutil.Process, runtime_dir: Path, output: Callable[[], str]
) -> None:
    """Libzmq would end the daemon when descriptors run out."""
    assert "256 file descriptors are all that this daemon may have" in output()
    before = daemon.num_threads()
    with open_connections(address, DESCRIPTORS + 50, b"GET /metrics HTTP/1.1\r\nX-a: "):
        serves(address, daemon)
        assert daemon.num_threads() <= before + 40
        assert daemon.num_fds() < DESCRIPTORS // 2
        assert talk.ask(places.endpoint(runtime_dir), timeout=30)["daemon"]["pid"] == daemon.pid
