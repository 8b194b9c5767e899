"""Listening sockets: which are kept, which are bound, and that a mistake changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from popframe.errors import ConfigError
from popframe.server.listener import Endpoint, Listeners


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    """Return listeners whose sockets are closed at the end."""
    made = Listeners()
    yield made
    made.listen_on([])


def free_address() -> str:
    """Return an address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def kinds(listeners: Listeners) -> list[tuple[int, bool, bool]]:
    """Return each socket's number with what it is for."""
    return [(listener.socket.fileno(), listener.speaks_tls, listener.behind_proxy) for listener in listeners.all]


def test_an_address_that_changes_its_kind_keeps_its_socket(listeners: Listeners) -> None:
    """A second socket could not be bound beside it; clients that wait in the kernel are not lost."""
    address = free_address()
    listeners.listen_on([Endpoint(address), Endpoint("127.0.0.1:0")])
    (number, *_), (other, *_) = kinds(listeners)

    listeners.listen_on([Endpoint("127.0.0.1:0"), Endpoint(address, behind_proxy=True)])

    assert sorted(kinds(listeners)) == sorted([(other, False, False), (number, False, True)])


def test_sockets_on_any_port_are_not_confused(listeners: Listeners) -> None:
    """The clients of one are not those of another kind."""
    plain, proxied = Endpoint("127.0.0.1:0"), Endpoint("127.0.0.1:0", behind_proxy=True)
    listeners.listen_on([plain, proxied])
    before = kinds(listeners)

    listeners.listen_on([proxied])

    assert kinds(listeners) == before[1:]


def test_what_cannot_be_bound_changes_nothing(listeners: Listeners) -> None:
    """Neither what was there, changed or left out, nor anything new is touched; the setting is named."""
    moved, dropped, new = free_address(), free_address(), free_address()
    listeners.listen_on([Endpoint(moved), Endpoint(dropped)])
    before = kinds(listeners)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        wanted = [Endpoint(moved, behind_proxy=True), Endpoint(new), Endpoint(address, True, True)]
        with pytest.raises(
            ConfigError, match=rf"proxy\.listen_tls: cannot listen on {address}: Address already in use"
        ):
            listeners.listen_on(wanted)

    assert kinds(listeners) == before
    for kept in (moved, dropped):
        host, _, port = kept.rpartition(":")
        socket.create_connection((host, int(port)), 5).close()
    host, _, port = new.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)
