"""A login that dies, or fails, at any system call: each bulletin is there exactly once, and whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from popframe.testing import KILL, CrashHarness

from .bulletin_room import Room, WatchingMail, mbox_room

pytestmark = [
    pytest.mark.skipif(not CrashHarness.is_possible(), reason="needs strace (Debian: apt-get install strace)"),
    pytest.mark.timeout(300),
]

LONG = bool(os.environ.get("POPFRAME_LONG"))
EARLIER = b"From x@example.org Mon Jan  5 08:00:00 2026\nSubject: earlier\n\nearlier\n\n"
NEW = ["This is 9.", "This is 10.", "This is 11."]
ERRORS = ("ENOSPC", "EIO")
DISK_CALLS = frozenset({"openat", "write", "pwrite64", "ftruncate", "fsync", "rename", "unlink"})
"""What a full or broken disk can make fail."""


@pytest.fixture(scope="module")
def harness() -> Iterator[CrashHarness]:
    """Yield the harness with the scenario loaded."""
    with CrashHarness(Path(__file__).with_name("crash_scenario.py")) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path) -> Room:
    """Return a room with three new bulletins for alice."""
    room = mbox_room(tmp_path)
    (tmp_path / "received").mkdir()
    for number in (8, 9, 10, 11):
        room.post(str(number))
    return room


def prepare(site: Room, popbull: str) -> None:
    """Put everything back to the beginning."""
    spool = site.folder.parent / "mail"
    for place in (spool, site.state, site.folder.parent / "received"):
        for path in place.iterdir():
            path.unlink()
    (spool / "alice").write_bytes(EARLIER)
    if popbull:
        site.popbull().write_text(popbull)
    site.plugin(max_old_bulletins=3)


def argument(site: Room, *, session: bool = False) -> dict[str, object]:
    """Return what the scenario gets."""
    received = str(site.folder.parent / "received") if session else ""
    return {"folder": str(site.folder.parent), "session": received, "old": 3}


def next_login(site: Room) -> list[str]:
    """Return what the next login finds; it comes when a dot-lock that nobody could sign has become stale."""
    for lock in (site.folder.parent / "mail").glob("*.lock"):
        os.utime(lock, (0, 0))
    return site.got()


@pytest.mark.parametrize("popbull", ["8\n", ""], ids=["known user", "new user"])
def test_login_that_is_killed_at_any_call_doubles_and_loses_nothing(
    harness: CrashHarness, site: Room, popbull: str
) -> None:
    """The next login finds each bulletin once and in order, and the one after it finds nothing new."""
    prepare(site, popbull)
    points = list(harness.points(argument(site)))
    assert len(points) > 30
    for point in points:
        prepare(site, popbull)
        status, did_come = harness.run(argument(site), point, KILL)
        assert did_come, f"{point} did not come: status {status}"

        assert next_login(site) == ["earlier", *NEW], f"killed at {point}"
        assert site.popbull().read_bytes() == b"11\n"
        assert next_login(site) == ["earlier", *NEW], f"killed at {point}"
        assert (site.state / "alice.popbull.popframe").read_bytes() == b""


def test_who_dies_while_mending_doubles_and_loses_nothing_either(harness: CrashHarness, site: Room) -> None:
    """A login dies behind its second delivery, and the one that would mend it dies too, at any call."""
    prepare(site, "8\n")
    points = [point for point in harness.points(argument(site)) if point.call in ("pwrite64", "rename", "fsync")]
    for point in points if LONG else points[-8::2]:
        prepare(site, "8\n")
        harness.run(argument(site), point, KILL)
        state = snapshot(site)
        for second in list(harness.points(argument(site))):
            restore(site, state)
            harness.run(argument(site), second, KILL)

            assert next_login(site) == ["earlier", *NEW], f"killed at {point}, then at {second}"
            assert site.popbull().read_bytes() == b"11\n"


@pytest.mark.parametrize("error", ERRORS)
def test_disk_that_fails_at_any_call_doubles_and_loses_nothing(harness: CrashHarness, site: Room, error: str) -> None:
    """A session removes all it finds; the next finds what it did not get. No failure of bulletins stops a login."""
    prepare(site, "8\n")
    for point in list(harness.points(argument(site))):  # so that the session itself goes well
        if point.call not in DISK_CALLS:
            continue
        prepare(site, "8\n")
        harness.run(argument(site, session=True), point, error)
        received = site.folder.parent / "received"
        first = [path.read_bytes().partition(b"\n\n")[2].decode().strip() for path in sorted(received.iterdir())]
        bulletins = [text for text in first if text != "earlier"]

        assert bulletins in ([], NEW), f"{error} at {point}: all or none"
        assert [*first, *next_login(site)] == ["earlier", *NEW], f"{error} at {point}"


def snapshot(site: Room) -> dict[Path, bytes]:
    """Return the state and the mail."""
    return {path: path.read_bytes() for place in (site.state, site.folder.parent / "mail") for path in place.iterdir()}


def restore(site: Room, state: dict[Path, bytes]) -> None:
    """Put them back."""
    for place in (site.state, site.folder.parent / "mail"):
        for path in place.iterdir():
            path.unlink()
    for path, content in state.items():
        path.write_bytes(content)
    site.plugin(max_old_bulletins=3)


def test_delivery_that_is_torn_anywhere_is_mended(site: Room) -> None:
    """Cut after any octet of what was delivered, as a machine that stops may do it: nothing half, nothing twice."""
    prepare(site, "8\n")
    before = snapshot(site)
    mail = WatchingMail(site)
    site.log_in(mail=mail)
    spool = site.folder.parent / "mail" / "alice"
    whole = spool.read_bytes()
    ends = len(EARLIER)
    for length in range(ends, len(whole) + 1, 1 if LONG else 7):
        restore(site, before)
        spool.write_bytes(whole[:length])
        (site.state / "alice.popbull.popframe").write_bytes(mail.record)

        found = site.got()

        # What is left of a From_ line is the end of the message before, as after any delivery that was torn there.
        assert found[0].startswith("earlier")
        assert [text for text in found[1:] if text] == NEW, f"cut at {length}"
        assert len(found) <= 5  # a message without even a header may be left
        assert site.popbull().read_bytes() == b"11\n"
