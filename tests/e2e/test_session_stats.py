"""Real sessions on a real server, and what Prometheus and the record of sessions say of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from popframe.testing import MailSite, RawClient
from popframe.testing.process import is_running, wait_for_end

from .inetd_room import log_in, needs_root, per_user_site, started
from .stats_site import (
    PLUGINS,
    TABLE,
    address_of,
    collectors,
    configure,
    read_and_quit,
    samples,
    samples_once,
    scrape,
)

MESSAGES = [b"Subject: one\n\nx\n", b"Subject: two\n\nxx\n", b"Subject: three\n\nxxx\n"]
"""As they are sent: 19, 20 and 23 octets."""

SESSIONS = "popframe_sessions_total"


def test_metrics_of_real_sessions_on_four_fronts(site: MailSite) -> None:
    """Each session, login, refused login, message and octet is there once, whichever front had it."""
    configure(site)
    server = site.start()
    sizes = [len(message) + message.count(b"\n") for message in MESSAGES]
    rounds = 12
    for _ in range(rounds):
        site.put("alice", MESSAGES)
        read_and_quit(site.connect(server, "alice"))
    for _ in range(3):
        client = site.connect(server)
        assert client.log_in("alice", "wrong").startswith(b"-ERR [AUTH]")
        client.close()
    broken_off = site.connect(server, "bob")
    present = [site.connect(server) for _ in range(5)]
    assert samples_once(server, lambda found: found["popframe_current_sessions"] == 6)
    broken_off.close()
    for client in present[:3]:
        client.close()

    found = samples_once(server, lambda found: found[f"{SESSIONS} disconnected"] == 7)
    assert {name: value for name, value in found.items() if "_duration_" not in name and value} == {
        f"{SESSIONS} quit": rounds,
        f"{SESSIONS} disconnected": 3 + 1 + 3,
        "popframe_logins_total": rounds + 1,
        "popframe_login_failures_total AUTH": 3,
        "popframe_messages_total retr": rounds,
        "popframe_messages_total top": rounds,
        "popframe_messages_total deleted": rounds,
        "popframe_messages_total left": 2 * rounds,
        "popframe_message_bytes_total retr": rounds * sizes[0],
        "popframe_message_bytes_total top": found["popframe_message_bytes_total top"],
        "popframe_message_bytes_total deleted": rounds * sizes[0],
        "popframe_message_bytes_total left": rounds * sum(sizes[1:]),
        "popframe_current_sessions": 2,
    }
    assert found["popframe_session_duration_seconds_count"] == rounds + 7
    assert found["popframe_session_duration_seconds_bucket +Inf"] == rounds + 7
    assert not {"alice", "bob", "127.0.0.1"} & set(re.findall(r"[\w.]+", scrape(address_of(server))))


def test_dead_front_takes_its_sessions_off_the_gauge(site: MailSite) -> None:
    """It cannot tell of their end any more."""
    configure(site, server="fronts = 1")
    server = site.start()
    clients = [site.connect(server) for _ in range(3)]
    assert samples_once(server, lambda found: found["popframe_current_sessions"] == 3)
    (front,) = set(server.fronts()) - {collectors(server)[0]}
    os.kill(front, signal.SIGKILL)
    for client in clients:
        with contextlib.suppress(ConnectionError):
            client.rest()

    assert samples_once(server, lambda found: found["popframe_current_sessions"] == 0)


def test_counts_survive_a_reload(site: MailSite) -> None:
    """One collector for all generations; sessions of old fronts are counted as well."""
    configure(site)
    server = site.start()
    before = collectors(server)
    old = site.connect(server, "alice")
    assert samples_once(server, lambda found: found["popframe_current_sessions"] == 1)
    server.reload()
    site.connect(server, "bob").ask("QUIT")
    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 1)
    old.ask("QUIT")

    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 2)
    assert collectors(server) == before


def test_reload_with_other_settings_is_refused(site: MailSite) -> None:
    """The collector was started before root was given up."""
    configure(site)
    server = site.start()
    configure(site, 'record = "none"\n')
    server.reload()

    assert "what it prepares at start has changed: restart the server" in server.log()


def test_killed_collector_costs_no_session_and_is_replaced(site: MailSite) -> None:
    """At the same address; it counts from 0, and its end is told."""
    configure(site)
    server = site.start()
    address = address_of(server)
    site.connect(server, "alice").ask("QUIT")
    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 1)
    above, collector = collectors(server)
    os.kill(collector, signal.SIGKILL)
    for _ in range(3):
        site.connect(server, "alice").ask("QUIT")  # some of them while there is none

    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 3)
    assert address_of(server) == address
    assert collectors(server)[0] == above
    assert collectors(server)[1] != collector
    server.wait_for_log(f"process {collector} ended with status -9")


def test_server_without_any_collector_serves_on(site: MailSite) -> None:
    """Both of its processes are killed: the log says so, and neither a session nor a stop waits.

    As ``run_as``, the server may be unable to start another one.
    """
    configure(site, server="fronts = 1")
    server = site.start()
    above, collector = collectors(server)
    os.kill(above, signal.SIGKILL)
    os.kill(collector, signal.SIGKILL)
    wait_for_end(collector)
    for _ in range(5):
        client = site.connect(server, "alice")
        assert client.ask("QUIT").startswith(b"+OK")

    server.wait_for_log("the collector of metrics has ended (status -9); counts begin anew in another")
    for _ in server.until("five sessions"):
        if server.count_in_log(" session-ended ") == 5:
            break
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 20


@needs_root
def test_collector_comes_back_when_both_of_its_processes_are_killed() -> None:
    """The server starts another one, which is run_as too; no session waits, and what it did meanwhile is counted."""
    with per_user_site() as (site, _):
        text = site.configuration.read_text().replace('"store_mbox"]', '"store_mbox", "session_stats"]')
        site.configuration.write_text(f"{text}\n{TABLE}")
        server = site.start()
        before = collectors(server)
        os.kill(before[0], signal.SIGKILL)
        os.kill(before[1], signal.SIGKILL)
        for _ in range(5):
            client = site.connect(server, "alice")
            assert client.ask("QUIT").startswith(b"+OK")
        for _ in server.until("metrics again"):
            if server.count_in_log('text="metrics at ') == 2:
                break

        assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 5)
        after = collectors(server)
        assert not set(before) & set(after)
        for pid in after:
            assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert server.count_in_log("the collector of metrics has ended") == 1
        assert server.stop() == 0
        assert not any(is_running(pid) for pid in after)


def test_collector_that_stands_still_keeps_no_session(site: MailSite) -> None:
    """It counts what has waited when it goes on."""
    configure(site)
    server = site.start()
    _, collector = collectors(server)
    os.kill(collector, signal.SIGSTOP)
    try:
        for _ in range(10):
            assert site.connect(server, "alice").ask("QUIT").startswith(b"+OK")
    finally:
        os.kill(collector, signal.SIGCONT)

    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_for_the_server_do_not_end_the_collector(site: MailSite, number: signal.Signals) -> None:
    """Whoever sends them to all processes of the server still gets the last sessions counted."""
    configure(site)
    server = site.start()
    for pid in collectors(server):
        os.kill(pid, number)
    site.connect(server, "alice").ask("QUIT")

    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 1)


def test_collector_ends_with_the_server(site: MailSite) -> None:
    """When it is stopped; nothing is left that has the port."""
    configure(site)
    server = site.start()
    pids, address = collectors(server), address_of(server)
    assert server.stop() == 0

    assert not any(is_running(pid) for pid in pids)
    with pytest.raises(urllib.error.URLError):
        scrape(address)


def test_collector_ends_when_the_master_is_killed(site: MailSite) -> None:
    """With the last front."""
    configure(site)
    server = site.start()
    pids = collectors(server)
    os.kill(server.pid, signal.SIGKILL)

    for pid in pids:
        wait_for_end(pid)
    server.stop()


def test_scrapers_that_hang_keep_nobody(site: MailSite) -> None:
    """Neither sessions nor, once their time is over, other scrapers; those too many are closed at once."""
    configure(site)
    server = site.start()
    host, _, port = address_of(server).rpartition(":")
    with contextlib.ExitStack() as open_ones:
        hanging = [open_ones.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(8)]
        for connection in hanging:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        dripping = threading.Thread(target=drip, args=(hanging[0],))
        dripping.start()
        beyond = open_ones.enter_context(socket.create_connection((host, int(port)), timeout=30))
        with contextlib.suppress(ConnectionError):
            assert beyond.recv(1) == b""
        for _ in range(3):
            assert site.connect(server, "alice").ask("QUIT").startswith(b"+OK")
        for connection in hanging:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
        dripping.join()

    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 3)


def drip(connection: socket.socket) -> None:
    """Send an octet now and then until nobody takes it."""
    deadline = time.monotonic() + 40
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline:
            connection.sendall(b"x")
            time.sleep(0.1)
    assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n\r\n",
        b"\0\xff\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.0\r\nAccept: application/openmetrics-text;version=x\r\n\r\n",
        b"GET / HTTP/1.0\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_bad_question_does_no_harm(site: MailSite, octets: bytes) -> None:
    """Whatever is sent to the port; the log does not grow by it."""
    configure(site)
    server = site.start()
    host, _, port = address_of(server).rpartition(":")
    before = len(server.log())
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(octets)
            with contextlib.suppress(ConnectionError):
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass

    assert samples(address_of(server))[f"{SESSIONS} quit"] == 0
    assert len(server.log()) == before


def test_address_that_somebody_else_has_is_waited_for(site: MailSite) -> None:
    """The server starts, with a warning, and the metrics are there once the address is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        site.configure("fronts = 1", f'[plugin.session_stats]\nlisten = "{address}"\n', plugins=PLUGINS)
        server = site.start()
        assert f"cannot listen on {address}: Address already in use; the collector goes on trying" in server.log()
        site.connect(server, "alice").ask("QUIT")

    for _ in server.until("metrics"):
        with contextlib.suppress(OSError):
            if samples(address)[f"{SESSIONS} quit"] == 1:
                break


def test_unix_socket(site: MailSite) -> None:
    """Anybody may ask who can reach it; a crash does not leave the address taken."""
    path = site.directory / "metrics"
    site.configure("fronts = 1", f'[plugin.session_stats]\nlisten = "{path}"\n', plugins=PLUGINS)
    server = site.start()
    server.kill()
    server = site.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b'\npopframe_sessions_total{outcome="quit"} 0.0\n' in answer


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a port below 1024, and another user to become")
def test_collector_is_root_no_longer_than_it_must(site: MailSite) -> None:
    """It gets a port below 1024, and is run_as for good; so is the process that would start another."""
    port = next(port for port in range(600, 1024) if is_free(port))
    site.configure("fronts = 1", f'[plugin.session_stats]\nlisten = "127.0.0.1:{port}"\n', plugins=PLUGINS)
    server = site.start()

    assert address_of(server) == f"127.0.0.1:{port}"
    assert samples(address_of(server))
    for pid in collectors(server):
        status = Path(f"/proc/{pid}/status").read_text()
        (nobody,) = set(re.findall(r"^[UG]id:\t(.*)$", status, re.MULTILINE))
        assert len(set(nobody.split())) == 1
        assert nobody.split()[0] != "0"
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)


def is_free(port: int) -> bool:
    """Tell whether a port of 127.0.0.1 can be had."""
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) != 0


def test_stray_variable_makes_no_files(site: MailSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With it, the library would keep its numbers in files, one for each process."""
    folder = site.directory / "multiproc"
    folder.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    configure(site)
    server = site.start()
    site.connect(server, "alice").ask("QUIT")
    assert samples_once(server, lambda found: found[f"{SESSIONS} quit"] == 1)

    assert list(folder.iterdir()) == []


@needs_root
def test_metrics_and_records_with_a_process_for_each_user() -> None:
    """They are told in the front: also what the process of the user has done, and how it died."""
    with per_user_site() as (site, _):
        table = TABLE + 'record = "json"\nfile = "records/sessions"\n'
        text = site.configuration.read_text().replace('"store_mbox"]', '"store_mbox", "session_stats"]')
        site.configuration.write_text(f"{text}\n{table}")
        records = site.directory / "records"
        records.mkdir()
        records.chmod(0o1777)
        server = site.start()
        client = site.connect(server)
        assert client.log_in("alice", "wrong").startswith(b"-ERR [AUTH]")
        assert client.log_in("alice", "secret").startswith(b"+OK")
        read_and_quit(client)
        client = site.connect(server)
        assert client.log_in("alice", "secret").startswith(b"+OK")
        client.close()

        found = samples_once(server, lambda found: found[f"{SESSIONS} disconnected"] == 1)
        assert found[f"{SESSIONS} quit"] == 1
        assert found["popframe_logins_total"] == 2
        assert found["popframe_login_failures_total AUTH"] == 1
        assert found["popframe_messages_total deleted"] == 1
        assert found["popframe_current_sessions"] == 0
        for _ in server.until("two records"):
            objects = [json.loads(line) for line in (records / "sessions").read_text().splitlines()]
            if len(objects) == 2:
                break
        assert [(one["user"], one["outcome"], one["deleted_count"]) for one in objects] == [
            ("alice", "quit", 1),
            ("alice", "disconnected", 0),
        ]
        assert (records / "sessions").stat().st_uid != 0


def test_records_without_a_collector_under_inetd(site: MailSite) -> None:
    """There is no collector; the record is written, and the session ends as fast as ever."""
    configure(site, 'record = "popper"\nfile = "sessions"\n')
    site.put("alice", MESSAGES)
    with started(site.configuration, errors_to_client=False) as client:
        client.lines.readline()
        log_in(client)
        pids = Path(f"/proc/{client.process.pid}/task/{client.process.pid}/children").read_text()
        client.ask("QUIT")
        assert client.end() == 0

    assert pids == ""
    record = (site.directory / "sessions").read_text()
    assert record.endswith(f"popframe[{client.process.pid}]: Stats: alice 0 0 3 62\n")


def test_poppers_line_in_the_log(site: MailSite) -> None:
    """It is the text of an event, whole."""
    configure(site)
    site.put("alice", MESSAGES)
    server = site.start()
    read_and_quit(site.connect(server, "alice"))

    server.wait_for_log('message logger=popframe.session_stats text="Stats: alice 1 19 2 43"')


def test_records_of_many_sessions_through_a_rotation(site: MailSite) -> None:
    """No line is lost, doubled or torn while the file is moved away, with many sessions at once on four fronts."""
    configure(site, 'record = "json"\nfile = "sessions"\n', server="fronts = 4\nmax_connections_per_address = 1000")
    server = site.start()
    path = site.directory / "sessions"

    def talk() -> None:
        for _ in range(100):
            with RawClient(server.addresses[0]) as client:
                client.ask("QUIT")
                client.rest()

    talking = [threading.Thread(target=talk) for _ in range(5)]
    for thread in talking:
        thread.start()
    rotations = 0
    while any(thread.is_alive() for thread in talking):
        if path.exists():
            path.rename(site.directory / f"sessions.{rotations}")
            rotations += 1
        time.sleep(0.005)
    assert server.stop() == 0

    lines = [line for file in site.directory.glob("sessions*") for line in file.read_text().splitlines()]
    assert rotations > 1
    assert len({json.loads(line)["session"] for line in lines}) == len(lines) == 500


def test_full_disk_costs_no_session(site: MailSite) -> None:
    """The record is lost, and told."""
    configure(site, 'record = "popper"\nfile = "/dev/full"\n')
    server = site.start()
    assert site.connect(server, "alice").ask("QUIT").startswith(b"+OK")

    server.wait_for_log("cannot write sessions to /dev/full: No space left on device; 1 not recorded")
    server.wait_for_log(" session-ended ")
