"""Sockets under pynetdicom's associations: closed by one thread while another looks at them."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from cxrnode.dimse.wire import close_socket, connected


class Vanishing:
    """An association's socket that another thread closes right after the first look at it."""

    def __init__(self, there: socket.socket) -> None:
        self._there: socket.socket | None = there

    @property
    def socket(self) -> socket.socket | None:
        there, self._there = self._there, None
        return there


def association(wrapped: Any) -> Any:
    """Give as much of an association as is looked at."""
    return SimpleNamespace(dul=SimpleNamespace(socket=wrapped))


def test_a_socket_that_is_closed_meanwhile_is_there_or_not() -> None:
    """Looked at twice, it was None the second time, and no OSError."""
    with socket.socket() as there:
        assert connected(association(Vanishing(there))) is there
        close_socket(association(Vanishing(there)))


def test_a_socket_that_is_gone_is_said() -> None:
    """Before the first connection, and after the last."""
    for wrapped in (None, SimpleNamespace(socket=None)):
        close_socket(association(wrapped))
        with pytest.raises(OSError, match="closed"):
            connected(association(wrapped))
