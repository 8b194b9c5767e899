"""A session or delivery that dies, or fails, at any system call loses nothing, doubles nothing, leaves no litter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from popframe import Account
from popframe.testing.crash import KILL, CrashHarness, Point
from popframe_store_mbox import Settings, StoreMbox, indexed

pytestmark = [
    pytest.mark.skipif(not CrashHarness.is_possible(), reason="needs strace (Debian: apt-get install strace)"),
    pytest.mark.timeout(120),
]

ALICE = Account("alice")
LONG = bool(os.environ.get("POPFRAME_LONG"))
COUNT = 6
CACHES = ("popframe-lock", "popframe-index", "popframe-index-new")
"""What may stay: the handle of a lock, the index, and the file that the next index is written to."""

REFUSED = 3
"""Exit status of the scenario when the session was told that something did not work."""

ERRORS = ("ENOSPC", "EDQUOT", "EIO")
DISK_CALLS = frozenset(
    {
        "openat",
        "write",
        "pwrite64",
        "ftruncate",
        "fallocate",
        "fsync",
        "fdatasync",
        "rename",
        "link",
        "unlink",
        "fchown",
        "utimensat",
    }
)
"""What a full disk, a quota or a broken disk can make fail."""


def message(number: int) -> bytes:
    """Return one message of the spool, each of another length."""
    return b"Subject: number %d\n\n" % number + b"line of message %d\n" % number * (number * 40 + 1)


def entry(text: bytes) -> bytes:
    """Return a message as it stands in the spool."""
    return b"From a@example.org Mon Jan  5 09:00:00 2026\n" + text + b"\n"


MESSAGES = [message(number) for number in range(COUNT)]
LATE = message(99)
PATHS = {
    "nothing": set[int](),
    "all": set(range(COUNT)),
    "the newest": {COUNT - 1},
    "the last three": {3, 4, 5},
    "the first": {0},
    "one in the middle": {2},
    "every second": {0, 2, 4},
}


TRIED = ["nothing", "one in the middle"] if os.environ.get("POPFRAME_WHEELS") == "1" else list(PATHS)
"""On installed wheels, which hold the same code as the checkout, two ways show that they are whole."""


@dataclass
class Site:
    """A spool in a folder, and where the scenario keeps its state."""

    folder: Path
    state_dir: Path | None
    small: int
    deleted: set[int]
    arrives: bool
    settings: dict[str, object] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    backlog: bytes = b""
    next_is_classic: bool = False

    @property
    def messages(self) -> list[bytes]:
        """What the session finds."""
        return [message(77), *MESSAGES] if self.backlog else MESSAGES

    @property
    def argument(self) -> dict[str, object]:
        """What the scenario gets."""
        return {
            "folder": str(self.folder),
            "state_dir": str(self.state_dir) if self.state_dir else "",
            "small": self.small,
            "deleted": sorted(self.deleted),
            "arrives": entry(LATE).decode() if self.arrives else "",
            "deliver": "",
            "settings": self.settings,
            "seen": sorted(self.seen),
        }

    def prepare(self) -> None:
        """Put everything back to the beginning."""
        for place in (self.folder, self.state_dir):
            for path in place.iterdir() if place else ():
                path.unlink()
        spool = self.folder / "alice"
        spool.write_bytes(b"".join(map(entry, MESSAGES)))
        os.utime(spool, ns=(0, 0))
        read(self, is_prepared=True)
        if self.backlog:
            copy = self.folder / ".alice.pop"
            copy.write_bytes(self.backlog)
            copy.chmod(0o600)

    def litter(self) -> set[str]:
        """Return the files that should not be there when no session is open."""
        expected = {"alice", ".alice.pop"} if self.next_is_classic else {"alice"}
        places = [place for place in (self.folder, self.state_dir) if place]
        names = {path.name for place in places for path in place.iterdir()}
        return {name for name in names - expected if not name.endswith(CACHES)}


def read(site: Site, *, is_prepared: bool = False) -> dict[str, bytes]:
    """Return what a new session finds: messages by unique-id, in order.

    It comes when a dot-lock that nobody could sign any more has become stale.
    """
    for lock in site.folder.glob("*.lock"):
        os.utime(lock, (0, 0))
    is_classic = site.next_is_classic and not is_prepared
    settings = Settings(
        spool_dir=site.folder, state_dir=site.state_dir, lock_timeout_seconds=0, private_copy=is_classic
    )
    store = StoreMbox(settings)
    maildrop = store.popframe_open_maildrop(ALICE)
    try:
        return {uid: b"".join(maildrop.read_message(at)) for at, uid in enumerate(maildrop.message_uids())}
    finally:
        maildrop.close()


@pytest.fixture(scope="module")
def harness() -> Iterator[CrashHarness]:
    """Yield the harness with the scenario loaded."""
    with CrashHarness(Path(__file__).with_name("crash_scenario.py")) as made:
        yield made


@pytest.fixture(params=TRIED)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """Return a site for one way to end a session."""
    folder = tmp_path / "mail"
    folder.mkdir()
    return Site(folder, None, 64 * 1024, PATHS[request.param], arrives=False)


@pytest.fixture
def _indexed(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    """Let the site have an index, and its state elsewhere."""
    monkeypatch.setattr(indexed, "SMALL_SPOOL_OCTETS", 0)
    site.small = 0
    site.state_dir = site.folder.with_name("state")
    site.state_dir.mkdir()


def strike_everywhere(harness: CrashHarness, site: Site, uids: list[str]) -> int:
    """Kill the session at each call in turn, and look at what is left each time; return how often."""
    site.prepare()
    points = list(harness.points(site.argument))
    for point in points:
        site.prepare()
        status, did_come = harness.run(site.argument, point, KILL)
        assert did_come, f"{point} did not come: status {status}"
        look(site, uids, point)
    return len(points)


def look(site: Site, uids: list[str], point: Point) -> None:
    """Make sure that every message that was not marked is there once, and the marked ones whole or gone."""
    found = read(site)
    count = len(site.messages)
    kept = [uids[at] for at in range(count) if at not in site.deleted]
    expected = dict(zip(uids, site.messages, strict=True))

    assert [uid for uid in found if uid in kept] == kept, f"killed at {point}"
    for uid, text in found.items():
        assert unstamped(text) == expected.get(uid, LATE), f"killed at {point}"
    assert len(found) <= count + site.arrives
    assert site.litter() == set(), f"killed at {point}"
    assert read(site) == found


def unstamped(text: bytes) -> bytes:
    """Return a message without what the server itself writes into it."""
    return text.replace(b"Status: RO\n", b"", 1).replace(b"Status: U\n", b"", 1)


def test_a_session_that_is_killed_at_any_call_loses_nothing(harness: CrashHarness, site: Site) -> None:
    """Every way through QUIT, every call of it (H-086)."""
    site.prepare()
    uids = list(read(site))

    assert strike_everywhere(harness, site, uids) > 10


@pytest.mark.usefixtures("_indexed")
def test_the_same_with_an_index_and_mail_that_arrives(harness: CrashHarness, site: Site) -> None:
    """The index is never believed against the spool, and what arrives meanwhile is there if it was written."""
    site.arrives = True
    site.prepare()
    uids = list(read(site))

    assert strike_everywhere(harness, site, uids) > 10


@pytest.mark.parametrize("arrives", [False, True])
def test_a_session_that_stamps_headers_loses_nothing_either(harness: CrashHarness, site: Site, arrives: bool) -> None:
    """The spool becomes longer, or the one part of it longer and the other shorter."""
    site.settings = {"status_headers": "popper"}
    site.seen = {1, 2, 5}
    site.arrives = arrives
    site.prepare()
    uids = list(read(site))

    assert strike_everywhere(harness, site, uids) > 10


BACKLOG = entry(message(77))


@pytest.mark.parametrize("backlog", [b"", BACKLOG], ids=["", "with a backlog"])
@pytest.mark.parametrize("next_is_classic", [False, True], ids=["", "next in the copy too"])
def test_a_session_on_a_private_copy_loses_nothing_either(
    harness: CrashHarness, site: Site, backlog: bytes, next_is_classic: bool
) -> None:
    """On the way into the copy, with mail that arrives meanwhile, and on the way back."""
    classic_site(site, backlog, next_is_classic=next_is_classic)
    site.prepare()
    uids = list(read(site))

    assert strike_everywhere(harness, site, uids) > 30


@pytest.mark.parametrize("error", ERRORS)
def test_nor_does_one_whose_disk_fails(harness: CrashHarness, site: Site, error: str) -> None:
    """The mail stays in the spool, or in the copy."""
    classic_site(site, BACKLOG, next_is_classic=False)
    fail_everywhere(harness, site, error)


def classic_site(site: Site, backlog: bytes, *, next_is_classic: bool) -> None:
    """Let the session have a private copy, perhaps with mail that one before has left there."""
    site.settings = {"private_copy": True}
    site.arrives = True
    site.backlog = backlog
    site.next_is_classic = next_is_classic
    if backlog:
        site.deleted = {at + 1 for at in site.deleted}


@pytest.mark.parametrize("error", ERRORS)
def test_a_session_whose_disk_fails_at_any_call_keeps_the_spool(harness: CrashHarness, site: Site, error: str) -> None:
    """Refused or not, every message that was not marked is there, and every marked one is whole or gone (H-084)."""
    fail_everywhere(harness, site, error)


@pytest.mark.parametrize("error", ERRORS)
def test_the_same_for_one_that_stamps_headers(harness: CrashHarness, site: Site, error: str) -> None:
    """Room for what is written is made sure of before the spool is touched."""
    site.settings = {"status_headers": "popper"}
    site.seen = {1, 2, 5}
    fail_everywhere(harness, site, error)


def fail_everywhere(harness: CrashHarness, site: Site, error: str) -> None:
    """Let each call fail in turn that a disk can make fail, and look at what is left each time."""
    site.prepare()
    uids = list(read(site))
    before = (site.folder / "alice").read_bytes()
    site.prepare()
    for point in list(harness.points(site.argument)):
        if point.call not in DISK_CALLS:
            continue
        site.prepare()
        status, did_come = harness.run(site.argument, point, error)
        assert did_come
        after = (site.folder / "alice").read_bytes()
        assert status in (0, REFUSED), f"{error} at {point}"
        if status == REFUSED:  # an update that has begun is brought to its end by whoever comes next
            is_begun = "popframe-redo" in " ".join(site.litter())
            is_cut = point.call == "fsync" and before.startswith(after)
            has_moved = bool(site.settings.get("private_copy"))
            assert after == before or is_begun or is_cut or has_moved, f"{error} at {point}"
        if status == 0 and not site.deleted and not site.settings:
            assert after == before
        look(site, uids, point)


def test_a_delivery_that_is_killed_at_any_call_is_whole_or_not_there(harness: CrashHarness, site: Site) -> None:
    """Half a message is never shown as one, and no other message suffers."""
    if site.deleted:
        return
    site.prepare()
    uids = list(read(site))
    text = "Subject: new\n\n" + "a line of new mail\n" * 1000
    argument = {**site.argument, "deliver": text}
    for point in list(harness.points(argument)):
        site.prepare()
        harness.run(argument, point, KILL)
        found = read(site)

        assert list(found)[:COUNT] == uids
        assert list(found.values())[:COUNT] == MESSAGES
        assert site.litter() == set(), point


@pytest.mark.timeout(900)
@pytest.mark.parametrize("variant", ["in place", "stamping", "private copy"])
def test_who_dies_while_mending_leaves_what_can_be_mended(harness: CrashHarness, tmp_path: Path, variant: str) -> None:
    """A session dies in the middle of a change, and so does the one that would bring it to its end (H-086)."""
    site = Site(tmp_path / "mail", None, 64 * 1024, {1, 3, 5}, arrives=True)
    site.folder.mkdir()
    if variant == "stamping":
        site.settings, site.seen = {"status_headers": "popper"}, {0, 2}
    elif variant == "private copy":
        site.settings, site.backlog = {"private_copy": True}, BACKLOG
    site.prepare()
    uids = list(read(site))
    site.prepare()
    states = list(interrupted(harness, site))
    assert len(states) > 3
    for point, state in states if LONG else states[::4]:
        mending = {**site.argument, "deleted": [], "arrives": "", "seen": []}
        restore(site.folder, state)
        for second in list(harness.points(mending)):
            restore(site.folder, state)
            _, did_come = harness.run(mending, second, KILL)
            assert did_come
            look(site, uids, point)


def interrupted(harness: CrashHarness, site: Site) -> Iterator[tuple[Point, dict[str, tuple[bytes, int]]]]:
    """Yield the files that are left where a session dies in the middle of a change, each kind of moment once."""
    for point in list(harness.points(site.argument)):
        site.prepare()
        harness.run(site.argument, point, KILL)
        state = {path.name: (path.read_bytes(), path.stat().st_mode) for path in site.folder.iterdir()}
        if {".alice.popframe-redo", ".alice.popframe-move"} & state.keys():
            yield point, state


def restore(folder: Path, state: dict[str, tuple[bytes, int]]) -> None:
    """Put files back as they were."""
    for path in folder.iterdir():
        path.unlink()
    for name, (content, mode) in state.items():
        path = folder / name
        path.write_bytes(content)
        path.chmod(mode)
        os.utime(path, (0, 0))
