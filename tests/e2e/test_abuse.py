"""Guessing against a real server: from many addresses, at many fronts, over restarts; and who notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

BAN_TOOL = '''
import json
from pathlib import Path

from popframe import AuthenticationFailed, ConfigPath, PluginSettings, hookimpl


class BanTool:
    """Refuses whom a file names, and writes down what happens."""

    class Settings(PluginSettings):
        """Where the files are."""

        banned: ConfigPath
        events: ConfigPath

    def __init__(self, settings):
        self._settings = settings

    @hookimpl
    def popframe_check_attempt(self, attempt):
        self._note("attempt", attempt, None)
        if attempt.peer.address in self._settings.banned.read_text().split():
            raise AuthenticationFailed("on the list of the ban tool")

    @hookimpl
    def popframe_login_failed(self, failure):
        self._note("failed", failure, failure.reason)

    @hookimpl
    def popframe_login_succeeded(self, success):
        self._note("succeeded", success, success.account.username)

    def _note(self, what, told, more):
        line = [what, told.peer.address, told.username, told.mechanism, told.password_digest, more]
        with self._settings.events.open("a") as events:
            events.write(json.dumps(line) + "\\n")
'''

WRONG = b"-ERR [AUTH] user name or password not accepted\r\n"

IS_LONG = os.environ.get("POPFRAME_LONG") == "1"
ADDRESSES, GUESSES = (100, 100) if IS_LONG else (20, 12)
"""Ten thousand guesses in make test-long."""

AT_ONCE = 48
"""Guesses under way at the same time, so that the test ends some day: each is answered after a quarter of a second."""

LIMIT = 5
NO_DELAY = f"[abuse]\nmax_wrong_passwords = {LIMIT}\nmax_delay_seconds = 0\n"

NOT_LOOKED_AT = "the password was not looked at"


def guess(server: ServerProcess, source: str, username: str, password: str) -> bytes:
    """Try a password on a connection of its own."""
    with RawClient(server.addresses[0], source=source) as client:
        return client.log_in(username, password)


@contextmanager
def logins_timed(server: ServerProcess, username: str, source: str) -> Iterator[list[float]]:
    """Let a user log in again and again during the block; the list gets the seconds that each login took."""
    seconds: list[float] = []
    is_over = threading.Event()

    def log_in() -> None:
        while not is_over.wait(0.05):
            started = time.monotonic()
            with RawClient(server.addresses[0], source=source) as client:
                assert client.log_in(username, "secret").startswith(b"+OK")
                seconds.append(time.monotonic() - started)
                client.ask("QUIT")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(log_in)
        try:
            yield seconds
        finally:
            is_over.set()
        future.result()


@pytest.mark.timeout(600 if IS_LONG else 60)
def test_guesses_from_many_addresses_end_at_the_limit_and_slow_nobody(site: MailSite) -> None:
    """Each address has its number of looks, whichever of four fronts it meets, and others log in as ever (H-048)."""
    site.configure("fronts = 4\n", NO_DELAY)
    server = site.start()
    sources = [f"127.66.{number // 250}.{number % 250 + 1}" for number in range(ADDRESSES)]
    guesses = [(source, f"guess {number} of {source}") for number in range(GUESSES) for source in sources]
    with logins_timed(server, "bob", "127.0.0.1") as seconds, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = Counter(pool.map(lambda pair: guess(server, pair[0], "alice", pair[1]), guesses))

    failures = [line for line in server.log().splitlines() if " login-failed " in line]
    looked_at = Counter(line.split(" address=")[1].split()[0] for line in failures if NOT_LOOKED_AT not in line)
    assert answers == {WRONG: ADDRESSES * GUESSES}
    assert len(failures) == ADDRESSES * GUESSES
    assert looked_at == dict.fromkeys(sources, LIMIT)
    assert len({line.split("[")[1].split("]")[0] for line in failures}) == 4
    assert len(seconds) >= 5
    assert sorted(seconds)[len(seconds) // 2] < 1
    assert guess(server, sources[0], "bob", "secret") == WRONG
    assert guess(server, "127.67.0.1", "alice", "secret").startswith(b"+OK")  # the real user, from elsewhere


def test_a_delayed_attempt_holds_nobody_else_up(site: MailSite) -> None:
    """Only its own thread waits (H-048)."""
    site.configure("fronts = 1\n", "[abuse]\ndelay_after = 0\nmax_delay_seconds = 4\n")
    server = site.start()
    for number in range(4):
        guess(server, "127.66.0.1", "alice", f"guess {number}")
    with ThreadPoolExecutor(5) as pool:
        started = time.monotonic()
        delayed = [pool.submit(guess, server, "127.66.0.1", "alice", f"later {number}") for number in range(5)]
        with logins_timed(server, "bob", "127.0.0.1") as seconds:
            assert {future.result() for future in delayed} == {WRONG}
        assert time.monotonic() - started >= 4

    assert len(seconds) >= 5
    assert sorted(seconds)[len(seconds) // 2] < 1


def test_a_server_that_stops_waits_for_no_delay(site: MailSite) -> None:
    """Nor does a client that goes away keep its thread."""
    site.configure("fronts = 1\nshutdown_timeout_seconds = 60\n", "[abuse]\ndelay_after = 0\nmax_delay_seconds = 30\n")
    server = site.start()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: guess(server, "127.66.0.1", "alice", f"{number}"), range(6)))
    with RawClient(server.addresses[0], source="127.66.0.1") as client:
        client.ask("USER alice")
        client.send(b"PASS secret\r\n")
        time.sleep(0.2)
        started = time.monotonic()

        assert server.stop() == 0
        assert time.monotonic() - started < 10
    assert "the client went away while its login was delayed" in server.log()


def test_a_client_that_has_nothing_more_to_say_is_answered_after_its_delay(site: MailSite) -> None:
    """A script sends all it has, closes its side, and reads."""
    site.configure(more="[abuse]\ndelay_after = 0\nmax_delay_seconds = 1\n")
    server = site.start()
    for number in range(3):
        guess(server, "127.66.0.1", "alice", f"guess {number}")
    with RawClient(server.addresses[0], source="127.66.0.1") as client:
        client.send(b"USER alice\r\nPASS secret\r\nQUIT\r\n")
        client.socket.shutdown(1)

        assert client.rest() == (
            b"+OK send PASS\r\n+OK maildrop has 0 messages (0 octets)\r\n+OK bye, 0 messages left\r\n"
        )


def test_ten_thousand_passwords_in_one_segment_are_not_looked_at(site: MailSite) -> None:
    """Each of the first has its delay, and the connection ends at the fifth (H-049)."""
    site.configure(more="[abuse]\ndelay_after = 2\n")
    server = site.start()
    started = time.monotonic()
    with RawClient(server.addresses[0], source="127.66.0.1") as client:
        sender = threading.Thread(target=_send_what_is_taken, args=(client,))
        sender.start()
        answers = client.rest()
        sender.join()

    assert answers == (b"+OK send PASS\r\n" + WRONG) * 5
    assert time.monotonic() - started >= 0.5 + 1 + 3 * 0.25
    assert server.count_in_log(" login-failed ") == 5
    with RawClient(server.addresses[0]) as client:
        assert client.log_in("bob", "secret").startswith(b"+OK")


def _send_what_is_taken(client: RawClient) -> None:
    octets = b"".join(b"USER alice\r\nPASS guess %d\r\n" % number for number in range(10_000))
    try:
        client.send(octets)
    except ConnectionError:
        return


@pytest.mark.parametrize("how", ["stop", "kill", "reload"])
def test_who_was_refused_is_refused_by_the_next_server(site: MailSite, how: str) -> None:
    """Restarting, crashing and reloading make nobody a stranger (H-048)."""
    site.configure("fronts = 2\n", NO_DELAY + 'state_file = "attempts"\n')
    server = site.start()
    for number in range(LIMIT):
        guess(server, "127.66.0.1", "alice", f"guess {number}")
    if how == "reload":
        server.reload()
    else:
        server.stop() if how == "stop" else server.kill()
        server.start()

    assert guess(server, "127.66.0.1", "alice", "secret") == WRONG
    assert server.count_in_log(NOT_LOOKED_AT) == 1
    assert guess(server, "127.66.0.2", "alice", "secret").startswith(b"+OK")


def test_a_damaged_file_is_no_reason_not_to_start(site: MailSite) -> None:
    """The log says so, and counting begins anew."""
    site.configure(more=NO_DELAY + 'state_file = "attempts"\n')
    server = site.start()
    guess(server, "127.66.0.1", "alice", "guess")
    server.stop()
    os.truncate(site.directory / "attempts", 100_000)
    with (site.directory / "attempts").open("r+b") as file:
        file.seek(30)
        file.write(b"?" * 1000)
    server.start()

    assert " attempts-damaged level=warning " in server.log()
    for number in range(LIMIT):
        guess(server, "127.66.0.1", "alice", f"guess {number}")
    assert guess(server, "127.66.0.1", "alice", "secret") == WRONG


def test_an_operator_lets_somebody_in_again(site: MailSite) -> None:
    """The list shows who is refused, and what is cleared holds for the running server at once."""
    site.configure("fronts = 2\n", NO_DELAY + 'state_file = "attempts"\n')
    server = site.start()
    for number in range(LIMIT):
        guess(server, "127.66.0.1", "alice", f"guess {number}")

    def bans(*arguments: str) -> str:
        command = [sys.executable, "-m", "popframe", "bans", *arguments, "--config", str(site.configuration)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert bans("list").splitlines()[1].startswith("127.66.0.1")
    assert bans("clear", "127.66.0.1") == "1 cleared\n"
    assert guess(server, "127.66.0.1", "alice", "secret").startswith(b"+OK")
    assert (site.directory / "attempts").stat().st_mode & 0o777 == 0o600


def test_a_front_that_is_killed_in_the_middle_leaves_no_lock(site: MailSite) -> None:
    """The other one goes on counting, and its clients notice nothing (H-048)."""
    site.configure("fronts = 2\n", NO_DELAY)
    server = site.start()
    with ThreadPoolExecutor(8) as pool:
        guesses = [pool.submit(_guess_or_lose, server, number) for number in range(60)]
        time.sleep(0.2)
        os.kill(server.fronts()[0], signal.SIGKILL)
        for future in guesses:
            future.result()

    assert guess(server, "127.0.0.1", "bob", "secret").startswith(b"+OK")
    assert guess(server, "127.66.0.1", "alice", "secret") == WRONG


def _guess_or_lose(server: ServerProcess, number: int) -> None:
    try:
        guess(server, "127.66.0.1", "alice", f"guess {number}")
    except ConnectionError:
        return  # it was the victim's


def test_connections_beyond_the_rate_are_turned_away(site: MailSite) -> None:
    """By address, over all fronts; the log says once which limit it was (H-057)."""
    site.configure("fronts = 2\n", "[abuse]\nmax_connections_per_minute = 10\n")
    server = site.start()
    greetings = []
    for _ in range(12):
        with RawClient(server.addresses[0], source="127.66.0.1") as client:
            greetings.append(client.greeting)

    assert [greeting[:3] for greeting in greetings] == [b"+OK"] * 10 + [b"-ER"] * 2
    assert greetings[-1] == b"-ERR [SYS/TEMP] too many connections, try again later\r\n"
    assert server.count_in_log("abuse.max_connections_per_minute") == 1
    site.connect(server, "alice")


def test_login_delay_is_announced_and_kept_over_all_fronts(site: MailSite) -> None:
    """Counted from the +OK; who does not know the password is not told of it (C-018, C-020)."""
    site.configure("fronts = 2\n", "[abuse]\nlogin_delay_seconds = 2\n")
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        client.ask("CAPA")
        assert b"LOGIN-DELAY 2\r\n" in client.body()
        assert client.log_in("alice", "secret").startswith(b"+OK")
        logged_in = time.monotonic()
        client.ask("QUIT")
    early = [guess(server, "127.0.0.1", "alice", password) for password in ("secret", "wrong", "secret")]
    assert time.monotonic() - logged_in < 2, "the machine is too slow for this test"

    assert early == [b"-ERR [LOGIN-DELAY] minimum time between logins not over yet\r\n", WRONG] * 1 + early[:1]
    time.sleep(max(0.0, logged_in + 2.1 - time.monotonic()))
    assert guess(server, "127.0.0.1", "alice", "secret").startswith(b"+OK")


def test_of_a_hundred_connections_of_one_user_one_gets_in(site: MailSite) -> None:
    """The others are told that it is in use; afterwards it is free (H-052)."""
    site.configure("fronts = 4\nmax_connections_per_address = 200\nmax_connections_per_user = 200\n")
    server = site.start()
    clients = [site.connect(server) for _ in range(100)]
    with ThreadPoolExecutor(100) as pool:
        answers = Counter(pool.map(lambda client: client.log_in("alice", "secret")[:12], clients))

    assert answers == {b"+OK maildrop": 1, b"-ERR [IN-USE": 99}
    for client in clients:
        client.close()
    for _ in server.until("the maildrop to be free"):
        if guess(server, "127.0.0.1", "alice", "secret").startswith(b"+OK"):
            break


def test_a_ban_tool_can_be_a_plugin(site: MailSite) -> None:
    """It is asked before the password is looked at, and told of every attempt, without a password in sight."""
    (site.directory / "ban_tool.py").write_text(BAN_TOOL)
    (site.directory / "banned").write_text("127.66.0.1\n")
    (site.directory / "events").touch()
    settings = '[plugin.ban_tool]\nbanned = "banned"\nevents = "events"\n'
    site.configure(more=settings, plugins=("./ban_tool.py", "auth_file", "store_mbox"))
    server = site.start()
    assert guess(server, "127.66.0.1", "alice", "secret") == WRONG
    assert guess(server, "127.66.0.2", "alice", "swordfish") == WRONG
    assert guess(server, "127.66.0.2", "alice", "secret").startswith(b"+OK")

    text = (site.directory / "events").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event[:4] + event[5:] for event in events] == [
        ["attempt", "127.66.0.1", "alice", "PASS", None],
        ["failed", "127.66.0.1", "alice", "PASS", "on the list of the ban tool"],
        ["attempt", "127.66.0.2", "alice", "PASS", None],
        ["failed", "127.66.0.2", "alice", "PASS", "wrong password"],
        ["attempt", "127.66.0.2", "alice", "PASS", None],
        ["succeeded", "127.66.0.2", "alice", "PASS", "alice"],
    ]
    digests = [event[4] for event in events]
    assert digests[0] == digests[1] == digests[4] == digests[5]
    assert digests[2] == digests[3] != digests[0]
    assert "secret" not in text
    assert "swordfish" not in text + server.log()
