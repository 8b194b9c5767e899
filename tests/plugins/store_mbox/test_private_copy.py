"""The private copy of the Berkeley popper: the way in, the way back, and what is left over, in both modes."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from popframe import Account, MaildropInUse, PermanentFailure, Refusal, TemporaryFailure
from popframe_store_mbox import Settings, StoreMbox
from popframe_store_mbox.maildrop import MboxMaildrop

ALICE = Account("alice")


def entry(number: int) -> bytes:
    """Return a message as it stands in the spool."""
    return b"From a@example.org Mon Jan  5 09:00:00 2026\n" + text_of(number) + b"\n"


def text_of(number: int) -> bytes:
    """Return a message."""
    return b"Subject: number %d\n\nline of message %d\n" % (number, number)


@pytest.fixture
def classic(spool_dir: Path) -> StoreMbox:
    """Return the plugin with private copies."""
    return StoreMbox(Settings(spool_dir=spool_dir, private_copy=True, lock_timeout_seconds=0))


@pytest.fixture
def copy(spool_dir: Path) -> Path:
    """Return the path of the private copy."""
    return spool_dir / ".alice.pop"


@pytest.fixture
def session(classic: StoreMbox, spool: Path) -> Iterator[MboxMaildrop]:
    """Return a session on a private copy of three messages."""
    spool.write_bytes(b"".join(map(entry, range(3))))
    maildrop = classic.popframe_open_maildrop(ALICE)
    yield maildrop
    maildrop.close()


def texts(maildrop: MboxMaildrop) -> list[bytes]:
    """Return all messages."""
    return [b"".join(maildrop.read_message(at)) for at in range(len(maildrop.message_octets()))]


def files(folder: Path) -> set[str]:
    """Return what is there beside the session's lock."""
    return {path.name for path in folder.iterdir() if not path.name.endswith("popframe-lock")}


def test_from_login_to_quit_the_mail_is_in_the_copy(session: MboxMaildrop, spool: Path, copy: Path) -> None:
    """The spool keeps its inode and is empty; the copy is private and locked as popper locks it."""
    assert texts(session) == [text_of(0), text_of(1), text_of(2)]
    assert spool.read_bytes() == b""
    assert copy.read_bytes() == b"".join(map(entry, range(3)))
    assert copy.stat().st_mode & 0o777 == 0o600
    with copy.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_quit_puts_back_what_stays_in_front_of_what_arrived(session: MboxMaildrop, spool: Path) -> None:
    """In the same file, with owner, mode and inode as they were."""
    spool.chmod(0o660)
    before = spool.stat()
    with spool.open("ab") as file:
        file.write(entry(9))
    session.commit({1}, set())
    session.close()

    assert spool.read_bytes() == entry(0) + entry(2) + entry(9)
    after = spool.stat()
    assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
    assert files(spool.parent) == {"alice"}


def test_quit_after_all_was_deleted_leaves_what_arrived(session: MboxMaildrop, spool: Path) -> None:
    """Nothing is written to the spool then."""
    with spool.open("ab") as file:
        file.write(entry(9))
    session.commit({0, 1, 2}, set())
    session.close()

    assert spool.read_bytes() == entry(9)
    assert files(spool.parent) == {"alice"}


def test_unique_ids_survive_both_ways(session: MboxMaildrop, store: StoreMbox) -> None:
    """They are made from the messages alone."""
    uids = list(session.message_uids())
    session.commit({0}, set())
    session.close()

    with closing(store.popframe_open_maildrop(ALICE)) as plain:
        assert list(plain.message_uids()) == uids[1:]


@pytest.mark.parametrize("is_classic", [True, False])
def test_a_session_that_broke_off_is_merged_at_the_next_login(
    session: MboxMaildrop, spool: Path, copy: Path, classic: StoreMbox, store: StoreMbox, is_classic: bool
) -> None:
    """What was in the copy comes first, in its order; the deletions of the session that broke off are void."""
    session.close()
    with spool.open("ab") as file:
        file.write(entry(9))

    with closing((classic if is_classic else store).popframe_open_maildrop(ALICE)) as maildrop:
        assert texts(maildrop) == [text_of(0), text_of(1), text_of(2), text_of(9)]
        assert copy.exists() == is_classic
        maildrop.commit({0}, set())

    assert spool.read_bytes() == entry(1) + entry(2) + entry(9)
    assert not copy.exists()


@pytest.mark.parametrize("is_classic", [True, False])
def test_what_qpopper_left_without_a_blank_line_is_separated(
    spool: Path, copy: Path, classic: StoreMbox, store: StoreMbox, is_classic: bool
) -> None:
    """A popper that died in the middle of copying leaves half a message, and no line end."""
    copy.write_bytes(entry(0) + entry(1)[:-10])
    copy.chmod(0o600)
    spool.write_bytes(entry(2))

    with closing((classic if is_classic else store).popframe_open_maildrop(ALICE)) as maildrop:
        assert texts(maildrop) == [text_of(0), text_of(1)[:-9] + b"\n", text_of(2)]
        maildrop.commit(set(), set())

    assert spool.read_bytes() == entry(0) + entry(1)[:-10] + b"\n\n" + entry(2)


@pytest.mark.parametrize("is_classic", [True, False])
def test_an_empty_copy_is_removed(
    spool: Path, copy: Path, classic: StoreMbox, store: StoreMbox, is_classic: bool
) -> None:
    """The Berkeley popper leaves one after each session."""
    copy.touch(0o600)
    spool.write_bytes(entry(0))

    with closing((classic if is_classic else store).popframe_open_maildrop(ALICE)) as maildrop:
        assert texts(maildrop) == [text_of(0)]
        maildrop.commit(set(), set())

    assert spool.read_bytes() == entry(0)
    assert not copy.exists()


def test_a_spool_that_is_missing_is_made_at_quit(classic: StoreMbox, spool: Path, copy: Path) -> None:
    """There was mail in the copy only."""
    copy.write_bytes(entry(0) + entry(1))
    copy.chmod(0o600)
    with closing(classic.popframe_open_maildrop(ALICE)) as maildrop:
        maildrop.commit({0}, set())

    assert spool.read_bytes() == entry(1)
    assert spool.stat().st_mode & 0o777 == 0o600


def test_a_maildrop_without_mail_leaves_nothing(classic: StoreMbox, spool: Path) -> None:
    """Neither spool nor copy."""
    with closing(classic.popframe_open_maildrop(ALICE)) as maildrop:
        assert list(maildrop.message_octets()) == []
        maildrop.commit(set(), set())

    assert files(spool.parent) == set()


def spoil(copy: Path, how: str) -> None:
    """Put something at the place of the copy that must not be used."""
    elsewhere = copy.with_name("elsewhere")
    elsewhere.write_bytes(entry(7))
    elsewhere.chmod(0o600)
    match how:
        case "link":
            copy.symlink_to(elsewhere)
        case "hard link":
            os.link(elsewhere, copy)
        case "pipe":
            os.mkfifo(copy)
        case "directory":
            copy.mkdir()
        case "others":
            copy.write_bytes(entry(7))
            copy.chmod(0o644)
        case "no mbox":
            copy.write_bytes(b"some text\n")
            copy.chmod(0o600)


SPOILED = ["link", "hard link", "pipe", "directory", "others", "no mbox"]


@pytest.mark.parametrize("how", SPOILED)
def test_a_copy_that_is_not_to_be_trusted_refuses_the_login(
    classic: StoreMbox, spool: Path, copy: Path, how: str
) -> None:
    """As popper does; nothing is touched."""
    spool.write_bytes(entry(0))
    spoil(copy, how)

    with pytest.raises(Refusal) as caught:
        classic.popframe_open_maildrop(ALICE)

    assert isinstance(caught.value, PermanentFailure)
    assert spool.read_bytes() == entry(0)
    assert copy.with_name("elsewhere").read_bytes() == entry(7)


@pytest.mark.parametrize("how", SPOILED)
def test_without_private_copies_it_is_left_alone(
    store: StoreMbox, spool: Path, copy: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may create files in the directory could otherwise lock a user out; the log says what was found."""
    spool.write_bytes(entry(0))
    spoil(copy, how)

    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        assert texts(maildrop) == [text_of(0)]

    assert ".alice.pop is left alone: " in caplog.text
    assert copy.with_name("elsewhere").read_bytes() == entry(7)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file of another user")
def test_a_copy_of_another_user_is_refused(spool_dir: Path, spool: Path, copy: Path) -> None:
    """In a directory where everybody may create files, anybody could put one there."""
    spool.write_bytes(entry(0))
    os.chown(spool, 1234, -1)
    copy.touch(0o600)
    os.chown(copy, 4321, -1)
    store = StoreMbox(Settings(spool_dir=spool_dir, private_copy=True))

    with pytest.raises(PermanentFailure, match="belongs to user 4321, not to 1234"):
        store.popframe_open_maildrop(Account("alice", uid=1234, gid=1234))
    assert spool.read_bytes() == entry(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file of another user")
def test_what_root_makes_belongs_to_the_user(spool_dir: Path, spool: Path, copy: Path) -> None:
    """So that a session of that user can go on with it."""
    spool.write_bytes(entry(0))
    os.chown(spool, 1234, 1234)
    store = StoreMbox(Settings(spool_dir=spool_dir, private_copy=True))

    with closing(store.popframe_open_maildrop(Account("alice", uid=1234, gid=1234))):
        assert (copy.stat().st_uid, copy.stat().st_gid) == (1234, 1234)


@pytest.mark.parametrize("is_classic", [True, False])
def test_a_copy_that_qpopper_has_locked_is_in_use(
    spool: Path, copy: Path, classic: StoreMbox, store: StoreMbox, is_classic: bool
) -> None:
    """Both may be installed while a site changes over."""
    spool.write_bytes(entry(0))
    copy.write_bytes(entry(1))
    copy.chmod(0o600)
    with copy.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(MaildropInUse):
            (classic if is_classic else store).popframe_open_maildrop(ALICE)

    assert spool.read_bytes() == entry(0)
    assert copy.read_bytes() == entry(1)


def test_a_spool_that_is_no_mbox_file_stays_where_it_is(classic: StoreMbox, spool: Path, copy: Path) -> None:
    """Behind other mail it would become part of a message."""
    spool.write_bytes(b"some text\n")
    copy.write_bytes(entry(0))
    copy.chmod(0o600)

    with pytest.raises(PermanentFailure, match="not an mbox file"):
        classic.popframe_open_maildrop(ALICE)
    assert spool.read_bytes() == b"some text\n"
    assert copy.read_bytes() == entry(0)


def test_a_second_session_is_refused(session: MboxMaildrop, classic: StoreMbox) -> None:
    """The session's own lock comes first."""
    with pytest.raises(MaildropInUse):
        classic.popframe_open_maildrop(ALICE)
    assert len(session.message_octets()) == 3


def test_shared_sessions_cannot_have_private_copies() -> None:
    """Two would work on one copy."""
    with pytest.raises(ValueError, match="a private copy has one session"):
        Settings(private_copy=True, session_lock="shared")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of its own, of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a file system")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill_up(folder: Path) -> Path:
    """Take all the room that is left; return the file that has it."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return path


BIG = b"From a@example.org Mon Jan  5 09:00:00 2026\nSubject: big\n\n" + b"a line of a big message\n" * 5000 + b"\n"


def test_on_a_full_disk_the_session_has_the_backlog(small_disk: Path) -> None:
    """The copy is cut back, the mail stays in the spool, and deleting the backlog makes room."""
    store = StoreMbox(Settings(spool_dir=small_disk, private_copy=True))
    spool, copy = small_disk / "alice", small_disk / ".alice.pop"
    spool.write_bytes(BIG)
    copy.write_bytes(entry(0))
    copy.chmod(0o600)
    filler = fill_up(small_disk)

    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        assert texts(maildrop) == [text_of(0)]
        assert copy.read_bytes() == entry(0)
        assert spool.read_bytes() == BIG
        maildrop.commit({0}, set())
    filler.unlink()

    assert files(small_disk) == {"alice"}
    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        assert len(maildrop.message_octets()) == 1
        maildrop.commit(set(), set())
    assert spool.read_bytes() == BIG
    assert files(small_disk) == {"alice"}


def test_on_a_full_disk_without_a_backlog_it_has_the_spool(small_disk: Path) -> None:
    """An empty maildrop would tell the client that all its mail is gone; and the newest can be deleted."""
    store = StoreMbox(Settings(spool_dir=small_disk, private_copy=True))
    spool = small_disk / "alice"
    spool.write_bytes(entry(0) + BIG)
    fill_up(small_disk)

    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        assert len(maildrop.message_octets()) == 2
        maildrop.commit({1}, set())

    assert spool.read_bytes() == entry(0)
    assert files(small_disk) == {"alice", "filler"}


def test_when_there_is_no_room_to_put_it_back_it_stays_in_the_copy(small_disk: Path) -> None:
    """QUIT is refused, nothing is lost, and the next session has everything."""
    store = StoreMbox(Settings(spool_dir=small_disk, private_copy=True))
    spool, copy = small_disk / "alice", small_disk / ".alice.pop"
    spool.write_bytes(entry(0) + BIG + entry(1))
    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        filler = fill_up(small_disk)
        with pytest.raises(TemporaryFailure):
            maildrop.commit({0}, set())

    assert copy.read_bytes() == entry(0) + BIG + entry(1)
    assert spool.read_bytes() == b""
    assert files(small_disk) == {"alice", ".alice.pop", "filler"}
    filler.unlink()
    with closing(store.popframe_open_maildrop(ALICE)) as maildrop:
        maildrop.commit({0}, set())
    assert spool.read_bytes() == BIG + entry(1)
    assert files(small_disk) == {"alice"}
