"""The table of the plugin, and where it can listen."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from popframe import ConfigError, Host
from popframe_session_stats import SessionStats, SessionStatsSettings
from popframe_session_stats.endpoint import TcpEndpoint, UnixEndpoint, name_of, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:9110", TcpEndpoint("127.0.0.1", 9110)),
        ("localhost:0", TcpEndpoint("127.0.0.1", 0)),
        ("[::1]:65535", TcpEndpoint("::1", 65535)),
        ("/run/popframe/metrics", UnixEndpoint(Path("/run/popframe/metrics"))),
    ],
)
def test_endpoint(text: str, endpoint: TcpEndpoint | UnixEndpoint) -> None:
    """Address and port, or a path."""
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9110", "neither address:port"),
        (":9110", "neither address:port"),
        ("run/metrics", "neither address:port"),
        ("127.0.0.1:65536", "not a port"),
        ("127.0.0.1:x", "not a port"),
        ("127.0.0.1:99999999999999999999", "not a port"),
        ("example.org:9110", "not a numeric address"),
        ("::1:9110", "not a numeric address"),
        ("[127.0.0.1]:9110", "not a numeric address"),
        ("/" + "x" * 107, "at most 107 octets"),
    ],
)
def test_what_is_no_endpoint(text: str, reason: str) -> None:
    """The setting is refused, and says what would be right."""
    with pytest.raises(ValidationError, match=reason):
        SessionStatsSettings(listen=text)


def test_json_needs_a_file() -> None:
    """The log would cut it."""
    with pytest.raises(ValidationError, match="needs 'file'"):
        SessionStatsSettings(record="json")


def test_file_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """At the start, and not with each session."""
    settings = SessionStatsSettings(file=tmp_path / "no" / "file")
    prepared = SessionStats.before_run_as(settings, Host(is_server=False))
    with pytest.raises(ConfigError, match="there is no folder"):
        SessionStats(settings, prepared)


@pytest.mark.parametrize(("is_server", "listen"), [(False, "127.0.0.1:0"), (True, "")])
def test_no_collector_where_none_is_needed(is_server: bool, listen: str) -> None:
    """Under inetd and in check-config; and where the site wants none."""
    prepared = SessionStats.before_run_as(SessionStatsSettings(listen=listen), Host(is_server=is_server))
    prepared.close()

    assert prepared.process is None


def test_address_that_is_not_of_this_machine_refuses_the_start() -> None:
    """The reason is told."""
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:9110: Cannot assign requested address"):
        SessionStats.before_run_as(SessionStatsSettings(listen="192.0.2.1:9110"), Host(is_server=True))


def test_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    """One on which somebody listens is not; nor is a file."""
    endpoint = UnixEndpoint(tmp_path / "metrics")
    endpoint.listen().close()
    with endpoint.listen() as listener:
        assert name_of(listener) == str(endpoint.path)
        assert endpoint.path.stat().st_mode & 0o777 == 0o666
        with pytest.raises(OSError, match=r".") as caught:
            endpoint.listen()
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(endpoint.path))
    endpoint.path.unlink()
    endpoint.path.write_text("mine")
    with pytest.raises(OSError, match=r"."):
        endpoint.listen()

    assert endpoint.path.read_text() == "mine"


def test_tcp_endpoints_listen() -> None:
    """Their names are those that a browser takes."""
    with TcpEndpoint("127.0.0.1", 0).listen() as four, TcpEndpoint("::1", 0).listen() as six:
        assert name_of(four).startswith("127.0.0.1:")
        assert name_of(six).startswith("[::1]:")
