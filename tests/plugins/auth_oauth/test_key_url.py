"""Keys that are fetched: when, how often, by whom, and what becomes of it when they cannot be."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popframe import ConfigError, TemporaryFailure
from popframe_auth_oauth.key_set import MAX_DOCUMENT_OCTETS
from popframe_auth_oauth.key_url import KeyUrl, fetcher
from popframe_auth_oauth.shared_document import Document, SharedDocument

from .issuer import OTHER_RSA_KEY, Website, key_set, public

# The children only fetch, and the website's threads hold no lock that they need.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

OTHERS = key_set(public(OTHER_RSA_KEY, "k2"))


class Clock:
    """A monotonic clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock in place of that of the machine."""
    clock = Clock()
    monkeypatch.setattr("popframe_auth_oauth.key_url.time.monotonic", clock)
    return clock


def keys_at(website: Website, *, cache_seconds: float = 3600, refetch_seconds: float = 30) -> KeyUrl:
    """Return the keys of a website."""
    return KeyUrl(fetcher(website.url, 1, None), cache_seconds, refetch_seconds)


def kids(keys: KeyUrl) -> list[str | None]:
    """Return the names of the keys as they are now."""
    return [kid for kid, _ in keys.current().keys]


def in_a_child(act: Callable[[], bool]) -> bool:
    """Tell what comes of it in another process, as in one that the gate forks for a login."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if act() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# --- when it is fetched -------------------------------------------------------------------------------------------


def test_nothing_is_fetched_before_it_is_needed(website: Website) -> None:
    """A server starts while the issuer is down."""
    keys = keys_at(website)
    assert website.paths == []
    keys.current()

    assert website.paths == ["/keys"]


def test_keys_are_fetched_again_when_they_are_old(website: Website, clock: Clock) -> None:
    """And not before; new keys count from then on, withdrawn ones no more."""
    keys = keys_at(website, cache_seconds=100)
    first = keys.current()
    website.document = OTHERS
    clock.now += 99

    assert keys.current() is first
    clock.now += 1
    assert kids(keys) == ["k2"]
    assert len(website.paths) == 2


def test_unknown_key_is_looked_up_at_most_once_in_a_while(website: Website, clock: Clock) -> None:
    """Strangers cannot make the server ask the issuer at every login."""
    keys = keys_at(website, refetch_seconds=30)
    first = keys.current()

    assert [keys.newer(first) for _ in range(100)] == [None] * 100
    assert len(website.paths) == 1
    clock.now += 30
    assert [keys.newer(first) for _ in range(100)] == [None] * 100
    assert len(website.paths) == 2
    website.document = OTHERS
    clock.now += 30
    newer = keys.newer(first)
    assert newer is not None
    assert [kid for kid, _ in newer.keys] == ["k2"]
    assert keys.newer(first) is newer is keys.current()
    assert len(website.paths) == 3


# --- when it cannot be fetched ------------------------------------------------------------------------------------


def test_without_keys_a_login_fails_for_now(website: Website, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is told "wrong token"; and it is tried again after a while, not at every login."""
    website.status = 503
    keys = keys_at(website)
    for _ in range(10):
        with pytest.raises(TemporaryFailure):
            keys.current()

    assert len(website.paths) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "nobody can log in with a token" in caplog.text
    assert "the answer is 503 Service Unavailable, not 200" in caplog.text
    website.status = 200
    clock.now += 30
    assert kids(keys) == ["k1"]


def test_old_keys_stay_in_use_while_there_are_no_newer_ones(
    website: Website, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is locked out because the issuer's website is down, or publishes something else."""
    keys = keys_at(website, cache_seconds=100)
    first = keys.current()
    website.document = b"<html>Bad Gateway</html>"
    clock.now += 1000
    for _ in range(10):
        assert keys.current() is first

    assert len(website.paths) == 2
    assert "those from before stay in use: it is not JSON" in caplog.text
    with pytest.raises(TemporaryFailure, match="names an unknown key"):
        keys.newer(first)
    website.document = OTHERS
    clock.now += 30
    assert kids(keys) == ["k2"]


# --- among threads and processes ----------------------------------------------------------------------------------


def test_threads_wait_for_one_who_fetches_the_first_keys(website: Website) -> None:
    """Many clients at once are one request."""
    website.delay_seconds = 0.2
    keys = keys_at(website)
    found: list[list[str | None]] = []
    threads = [threading.Thread(target=lambda: found.append(kids(keys))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [["k1"]] * 20
    assert len(website.paths) == 1


def test_nobody_waits_while_somebody_fetches_newer_keys(website: Website) -> None:
    """There are good ones; only who fetches is held up."""
    keys = keys_at(website, cache_seconds=0.001, refetch_seconds=0.001)
    keys.current()
    website.delay_seconds = 1.0
    time.sleep(0.01)
    thread = threading.Thread(target=keys.current)
    thread.start()
    while len(website.paths) < 2:
        time.sleep(0.001)
    begun = time.monotonic()
    keys.current()
    seconds = time.monotonic() - begun
    thread.join()

    assert seconds < 0.5


def test_what_one_child_has_fetched_the_next_one_has(website: Website) -> None:
    """A process for each login does not fetch for each login, however many there are at once."""
    website.delay_seconds = 0.1
    keys = keys_at(website)
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if kids(keys) == ["k1"] else 1)
            finally:
                os._exit(2)
        children.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]

    assert statuses == [0] * 8
    assert len(website.paths) == 1
    assert kids(keys) == ["k1"]
    assert in_a_child(lambda: kids(keys) == ["k1"])
    assert len(website.paths) == 1


def test_failure_of_one_child_is_known_to_the_next_one(website: Website) -> None:
    """What holds for strangers holds over all processes."""
    website.status = 404
    keys = keys_at(website)

    def fails() -> bool:
        try:
            keys.current()
        except TemporaryFailure:
            return True
        return False

    assert in_a_child(fails)
    assert in_a_child(fails)
    assert len(website.paths) == 1


def test_child_that_is_killed_while_it_fetches_leaves_no_lock(website: Website) -> None:
    """A login that takes too long is killed; the next one goes on, after a while."""
    website.delay_seconds = 20
    keys = KeyUrl(fetcher(website.url, 20, None), 3600, 0.2)
    pid = os.fork()
    if pid == 0:
        try:
            keys.current()
        finally:
            os._exit(2)
    while not website.paths:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    website.delay_seconds = 0
    with pytest.raises(TemporaryFailure):
        keys.current()
    time.sleep(0.2)

    assert kids(keys) == ["k1"]


def test_document_that_was_half_written_is_none() -> None:
    """A process may be killed at any instant; a reader sees a whole version or nothing."""
    shared = SharedDocument(1000)
    with shared.lock() as is_ours:
        assert is_ours
        shared.write(Document(b"old" * 100, 1.0, 2.0))
    assert shared.read() == Document(b"old" * 100, 1.0, 2.0)
    with open(shared._path, "r+b") as file:
        file.seek(100)
        file.write(b"new")

    assert shared.read() == Document(b"old" * 100, 1.0, 2.0)  # this process knows it still
    assert SharedDocument.read(_without_memory(shared)) == Document()
    with shared.lock():
        shared.write(Document(b"new", 3.0, 3.0))
    assert shared.read() == Document(b"new", 3.0, 3.0)


def _without_memory(shared: SharedDocument) -> SharedDocument:
    """Return what another process sees."""
    shared._latest = b"", Document()
    return shared


def test_lock_keeps_out_threads_and_processes() -> None:
    """Only one writes."""
    shared = SharedDocument(10)

    def is_free() -> bool:
        with shared.lock(wait=False) as is_ours:
            return is_ours

    with shared.lock():
        assert not is_free()
        assert not in_a_child(is_free)
    assert is_free()
    assert in_a_child(is_free)


def test_lock_is_one_for_threads_too() -> None:
    """A front has many."""
    shared = SharedDocument(10)
    inside: list[int] = []

    def write() -> None:
        for _ in range(50):
            with shared.lock():
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert inside == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_can_neither_read_nor_write_it() -> None:
    """A front of a server with isolation "per-user" inherits the place, and must not be able to put in its own keys."""
    shared = SharedDocument(1000)
    with shared.lock():
        shared.write(Document(b"x", 1.0, 1.0))

    def is_kept_out() -> bool:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        refused = 0
        for act in (shared.read, lambda: shared.write(Document(b"y", 2.0, 2.0)), lambda: os.chmod(shared._path, 0o600)):
            try:
                act()
            except PermissionError:
                refused += 1
        place = int(shared._path.rpartition("/")[2])
        for attempt in (
            lambda: os.pwrite(place, b"y", 0),
            lambda: os.fchmod(place, 0o600),
            lambda: os.ftruncate(place, 0),
        ):
            try:
                attempt()
            except OSError:
                refused += 1
        return refused == 6

    assert in_a_child(is_kept_out)
    assert shared.read() == Document(b"x", 1.0, 1.0)


# --- how it is fetched --------------------------------------------------------------------------------------------


def complaint(website: Website, caplog: pytest.LogCaptureFixture, authorities: Path | None = None) -> str:
    """Return why the keys of a website cannot be fetched."""
    with pytest.raises(TemporaryFailure):
        KeyUrl(fetcher(website.url, 1, authorities), 3600, 30).current()
    return caplog.text


def test_redirect_is_not_followed(website: Website, caplog: pytest.LogCaptureFixture) -> None:
    """Not to another scheme, not to another machine, not to a file: the operator has written where the keys are."""
    website.status, website.headers = 302, {"Location": "file:///etc/passwd"}

    assert "the answer is 302 Found, not 200" in complaint(website, caplog)


def test_proxy_of_the_environment_is_not_used(website: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the configuration says where keys come from."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert kids(keys_at(website)) == ["k1"]


def test_endless_answer_is_cut_off(website: Website, caplog: pytest.LogCaptureFixture) -> None:
    """Bounded by size."""
    website.document = b" " * (MAX_DOCUMENT_OCTETS + 1)

    assert f"the answer has more than {MAX_DOCUMENT_OCTETS} octets" in complaint(website, caplog)


def test_answer_that_comes_drop_by_drop_is_cut_off(website: Website, caplog: pytest.LogCaptureFixture) -> None:
    """Bounded by time, all of it together."""
    website.octet_seconds = 0.2
    begun = time.monotonic()

    assert "no whole answer within 1 s" in complaint(website, caplog)
    assert time.monotonic() - begun < 3
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def test_answer_that_does_not_come_is_not_waited_for(website: Website, caplog: pytest.LogCaptureFixture) -> None:
    """Bounded by time from the first octet on."""
    website.delay_seconds = 30
    begun = time.monotonic()

    assert "cannot be fetched" in complaint(website, caplog)
    assert time.monotonic() - begun < 3


def test_nobody_there_is_a_failure_for_now(caplog: pytest.LogCaptureFixture) -> None:
    """With the reason in the log."""
    with Website(b"") as website:
        pass

    assert "Connection refused" in complaint(website, caplog)


def test_certificates_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    """A mistake of the operator, told at the start."""
    (tmp_path / "ca.pem").write_text("nothing")

    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=name):
            fetcher("https://localhost/", 1, tmp_path / name)
