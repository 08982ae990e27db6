"""Health over HTTP: live, ready, each dependency."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import httpx
import pytest

from cxrnode.errors import Retryable
from cxrnode.web.asking import ask
from cxrnode.web.health import Dependency, HealthServer, health_app
from tests.peers import free_port
from tests.waiting import wait_for

WELL = Dependency(ok=True, detail="open")
LOADING = Dependency(ok=False, detail="loading", needed=False)
FULL = Dependency(ok=False, detail="under its floor of free space")


@pytest.fixture
def page() -> Iterator[tuple[int, dict[str, Dependency]]]:
    """A health page on a port of its own, and what it says."""
    port, dependencies = free_port(), {"ledger": WELL, "disk": FULL}
    server = HealthServer(host="127.0.0.1", port=port, version="1", look=lambda: dependencies)
    server.start()
    yield port, dependencies
    server.stop()


def test_a_command_reads_what_the_page_says(page: tuple[int, dict[str, Dependency]]) -> None:
    """Ready or not; also where the node listens on every address."""
    port, dependencies = page
    assert ask("0.0.0.0", port, pid=os.getpid()) == dependencies


def test_a_page_that_is_not_the_node_s_own_is_not_believed(page: tuple[int, dict[str, Dependency]]) -> None:
    """Two nodes on one machine with one port: the second has none, and the first speaks for itself only."""
    port, _ = page
    with pytest.raises(Retryable, match="another node's"):
        ask("127.0.0.1", port, pid=1)
    with pytest.raises(Retryable, match="does not answer"):
        ask("127.0.0.1", free_port(), pid=1)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.0 200 OK\r\n\r\n[]", b"HTTP/1.0 200 OK\r\n\r\n<html>", b"\0" * 99])
def test_whatever_else_answers_is_said(said: bytes) -> None:
    """Another program has the port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def answer() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(Retryable, match=r"it is no node's|it does not answer"):
            ask("127.0.0.1", listening.getsockname()[1], pid=1)


def _get(page: str, look: Callable[[], Mapping[str, Dependency]] = dict) -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app=health_app("1.2.3", look))
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.get(page)

    return asyncio.run(get())


def test_it_is_ready_while_models_load() -> None:
    """It receives and keeps without them; the page says that they load."""
    dependencies = {"ledger": WELL, "models": LOADING}
    assert _get("/health/ready", lambda: dependencies).json() == {"status": "ready", "version": "1.2.3"}
    answer = _get("/health", lambda: dependencies)
    assert answer.status_code == 200
    assert answer.json()["dependencies"]["models"] == {"ok": False, "detail": "loading"}


@pytest.mark.parametrize("page", ["/health", "/health/ready"])
def test_it_is_not_ready_without_what_it_needs(page: str) -> None:
    """503, so that a load balancer understands."""
    answer = _get(page, lambda: {"ledger": WELL, "disk": FULL})
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")


def test_it_is_live_whatever_it_lacks() -> None:
    """Live asks nobody."""

    def look() -> dict[str, Dependency]:
        raise AssertionError

    answer = _get("/health/live", look)
    assert (answer.status_code, answer.json()) == (200, {"status": "live", "version": "1.2.3"})


@pytest.mark.parametrize("page", ["/", "/docs", "/openapi.json", "/health/patients"])
def test_there_is_no_other_page(page: str) -> None:
    """No documentation page, nothing that was not asked for."""
    assert _get(page).status_code == 404


def test_the_page_answers_until_it_is_stopped() -> None:
    """Over a real port, which is free again at once."""
    port = free_port()
    for _ in range(2):
        server = HealthServer(host="127.0.0.1", port=port, version="1.2.3", look=dict)
        server.start()
        assert httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=30).json()["status"] == "live"
        server.stop()
        wait_for(lambda: _is_closed(port), 10)


def _is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_is_told_and_the_node_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Images are received all the same; the line says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other, caplog.at_level(logging.ERROR, "cxrnode"):
        server = HealthServer(host="127.0.0.1", port=other.getsockname()[1], version="1.2.3", look=dict)
        server.start()
        server.stop()
    (record,) = caplog.records
    assert record.message == "health_unavailable"
    assert "The port is taken" in record.fields["hint"]  # type: ignore[attr-defined]
