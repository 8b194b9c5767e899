"""Who gets which bulletins, in which form, and what is noted of it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from popframe import Account, MaildropInUse, PermanentFailure, TemporaryFailure

from .bulletin_room import FROM_LINE, DirectMail, Room, WatchingMail

NEWS = [f"This is {number}.news." for number in range(1, 12)]


def post_eleven(room: Room) -> None:
    """Put eleven bulletins into the folder, so that their numbers and the order of their names differ."""
    for number in range(1, 12):
        room.post(f"{number}.news")


def test_each_bulletin_is_delivered_once_and_in_order(room: Room) -> None:
    """Whoever has up to 8 gets 9, 10 and 11, by number and not by name, and never again."""
    post_eleven(room)
    room.popbull().write_text("8\n")

    assert room.got() == NEWS[8:]
    assert room.popbull().read_bytes() == b"11\n"
    assert room.got() == NEWS[8:]
    room.post("12.news")
    assert room.got() == [*NEWS[8:], "This is 12.news."]


@pytest.mark.parametrize("content", [None, "", "no number\n", "-3\n"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_new_user_gets_the_newest(quick_room: Room, content: str | None, count: int) -> None:
    """Without a number in .popbull a user is new, and gets max_old_bulletins."""
    post_eleven(quick_room)
    if content is not None:
        quick_room.popbull().write_text(content)

    assert quick_room.got(max_old_bulletins=count) == NEWS[11 - count :]
    assert quick_room.popbull().read_bytes() == b"11\n"
    assert quick_room.popbull().stat().st_mode & 0o777 == 0o600


def test_user_who_came_before_the_first_bulletin_gets_all(quick_room: Room) -> None:
    """An empty folder is noted as the number 0."""
    assert quick_room.got(max_old_bulletins=1) == []
    assert quick_room.popbull().read_bytes() == b"0\n"
    post_eleven(quick_room)
    assert quick_room.got() == NEWS


def test_files_of_popper_are_read_as_they_are(quick_room: Room) -> None:
    """A number, with or without a line end; in the home directory; kept as they are if nothing is new."""
    post_eleven(quick_room)
    home = quick_room.state / "home"
    home.mkdir()
    account = Account("alice", home=str(home))
    for content, expected in ((b"11\n", []), (b"11", []), (b"12 \n", []), (b"10 \nrest", NEWS[10:])):
        (home / ".popbull").write_bytes(content)
        assert quick_room.got(account, state_dir=None) == expected
        if not expected:
            assert (home / ".popbull").read_bytes() == content
    assert (home / ".popbull").read_bytes() == b"11\n"


def test_fields_are_rewritten_as_by_popper(room: Room) -> None:
    """To: names the user, with its continuation lines; Status: and X-UIDL: go; everything else stays."""
    (room.folder / "1").write_bytes(
        FROM_LINE
        + b"Received: by x\nto: everybody,\n\tand more\nStatus: RO\nX-UIDL: abc\nSubject: a\n b\nTO: others\n\n"
        b"To: this is text\nStatus: as well\n\n"
    )
    room.aged(room.folder / "1")
    room.log_in()
    (message,) = room.mail()
    first, _, rest = message.partition(b"\n")

    assert first.startswith(b"X-Bulletin-Delivery: ")
    assert rest.rstrip(b"\n") == (
        b"Received: by x\nTo: alice@pop.example.org\nSubject: a\n b\nTo: alice@pop.example.org\n\n"
        b"To: this is text\nStatus: as well"
    )


def test_from_line_is_kept(tmp_path: Path) -> None:
    """The mbox has the line of the bulletin, and text that looks like one is no second message."""
    from .bulletin_room import mbox_room

    room = mbox_room(tmp_path)
    room.post("1", b"one\n\nFrom x@example.org Mon Jan  5 09:00:00 2026\nSubject: no message\n\ntwo\n")
    room.log_in()
    spool = (tmp_path / "mail" / "alice").read_bytes()

    assert spool.startswith(FROM_LINE)
    assert len(room.mail()) == 1


@pytest.mark.parametrize(
    ("user", "to"),
    [
        ("alice", b"alice@pop.example.org"),
        ("bob@example.net", b"bob@example.net"),
        ("a b", b'"a b"@pop.example.org'),
        ('a"b\\', b'"a\\"b\\\\"@pop.example.org'),
        ("jürgen", "jürgen@pop.example.org".encode()),
        ("../../etc", b'"../../etc"@pop.example.org'),
    ],
)
def test_recipient_is_an_address(quick_room: Room, user: str, to: bytes) -> None:
    """Whatever the name of the user is."""
    quick_room.post("1")
    quick_room.log_in(user)

    assert b"\nTo: " + to + b"\n" in quick_room.mail(user)[0]
    assert all(path.parent == quick_room.state for path in quick_room.state.rglob("*"))
    assert len(list(quick_room.state.iterdir())) == 2


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_line_ends_do_not_matter(quick_room: Room, line_end: bytes) -> None:
    """A file that was written on another system is delivered like any other."""
    path = quick_room.folder / "1"
    path.write_bytes((FROM_LINE + b"To: all\nStatus: U\nSubject: x\n\nhi\n\n").replace(b"\n", line_end))
    quick_room.aged(path)
    quick_room.log_in()

    assert quick_room.mail()[0].partition(b"\n")[2] == b"To: alice@pop.example.org\nSubject: x\n\nhi\n\n"


def test_two_files_of_one_number_are_both_delivered(room: Room) -> None:
    """In the order of their names."""
    for name in ("3.b", "3.a", "2.z"):
        room.post(name)
    room.popbull().write_text("1\n")

    assert room.got() == ["This is 2.z.", "This is 3.a.", "This is 3.b."]
    assert room.popbull().read_bytes() == b"3\n"


def test_numbers_may_have_gaps_and_zeros(quick_room: Room) -> None:
    """Only their order counts."""
    for name in ("0004.d", "7", "90-c"):
        quick_room.post(name)
    quick_room.popbull().write_text("3\n")

    assert quick_room.got() == ["This is 0004.d.", "This is 7.", "This is 90-c."]
    assert quick_room.popbull().read_bytes() == b"90\n"


# --- groups


@pytest.mark.parametrize(
    ("user", "expected"), [("alice", ["2.ALL.x", "3.staff.x", "5"]), ("bob", ["2.ALL.x", "4.pupils.x", "5"])]
)
def test_group_bulletins_reach_their_group_alone(quick_room: Room, user: str, expected: list[str]) -> None:
    """A group that nobody knows is nobody's; a name without a group is everybody's; what passed is not made up for."""
    for name in ("2.ALL.x", "3.staff.x", "4.pupils.x", "5", "6.unknown.x"):
        quick_room.post(name)
    quick_room.popbull(user).write_text("1\n")
    groups = {"staff": ["alice"], "pupils": ["bob", "carol"]}
    quick_room.plugin(group_bulletins=True, groups={name: tuple(users) for name, users in groups.items()})

    assert quick_room.got(user) == [f"This is {name}." for name in expected]
    assert quick_room.popbull(user).read_bytes() == b"6\n"


def test_groups_in_names_mean_nothing_unless_configured(quick_room: Room) -> None:
    """As in popper, and in Qpopper by default."""
    quick_room.post("2.unknown.x")

    assert quick_room.got() == ["This is 2.unknown.x."]


def test_groups_of_the_machine_count(quick_room: Room) -> None:
    """An account with a group id is in that group; a virtual user is in none."""
    quick_room.post("2.root.x")
    accounts = [Account("someone", uid=4_000_000, gid=0), Account("other", uid=4_000_001, gid=4_000_000), Account("v")]
    quick_room.plugin(group_bulletins=True)

    assert [len(quick_room.got(account)) for account in accounts] == [1, 0, 0]


# --- when something fails


def test_failed_delivery_takes_back_what_came_before(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """All or nothing: the third fails, the first two go again, and the next login gets all of them once."""
    post_eleven(room)
    room.popbull().write_text("8\n")
    mail = DirectMail(room.store, Account("alice"))
    mail.failures[3] = TemporaryFailure("the disk is full")
    room.log_in(mail=mail)

    assert room.texts() == []
    assert room.popbull().read_bytes() == b"8\n"
    assert "no bulletins for alice: the disk is full" in caplog.text
    assert sorted(path.name for path in room.state.iterdir()) == ["alice.popbull", "alice.popbull.popframe"]
    assert room.got() == NEWS[8:]


def test_failed_delivery_leaves_other_mail_alone(room: Room) -> None:
    """What is taken back is found by a token that no sender knows."""
    post_eleven(room)
    room.popbull().write_text("8\n")
    room.log_in()
    mail = DirectMail(room.store, Account("alice"))
    for number in (12, 13):
        room.post(f"{number}.news")
    mail.failures[2] = PermanentFailure("no more")
    room.log_in(mail=mail)

    assert room.texts() == NEWS[8:]


def test_delivery_that_was_noted_is_not_looked_for(room: Room) -> None:
    """A login died before it could empty its record; what another program has removed meanwhile stays removed."""
    post_eleven(room)
    room.popbull().write_text("8\n")
    mail = WatchingMail(room)
    room.log_in(mail=mail)
    (room.state / "alice.popbull.popframe").write_bytes(mail.record)
    with closing(room.store.popframe_open_maildrop(Account("alice"))) as maildrop:
        maildrop.commit({0}, set())

    assert room.got() == NEWS[9:]
    assert room.popbull().read_bytes() == b"11\n"
    assert (room.state / "alice.popbull.popframe").read_bytes() == b""


def test_maildrop_in_use_is_no_matter(quick_room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """Bulletins wait for the next login."""
    caplog.set_level("INFO")
    quick_room.post("1")
    mail = DirectMail(quick_room.store, Account("alice"))
    mail.failures[1] = MaildropInUse("busy")
    quick_room.log_in(mail=mail)

    assert "no bulletins for alice now: busy" in caplog.text
    assert quick_room.got() == ["This is 1."]


def test_account_without_a_home_is_logged(quick_room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has to set state_dir."""
    quick_room.post("1")

    assert quick_room.got(state_dir=None) == []
    assert "the account has no home directory: set plugin.bulletin.state_dir" in caplog.text


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
@pytest.mark.parametrize("name", ["alice.popbull", "alice.popbull.popframe"])
def test_state_that_is_no_plain_file_is_not_touched(
    quick_room: Room, caplog: pytest.LogCaptureFixture, name: str, what: str
) -> None:
    """A link leads nowhere, a pipe keeps nobody waiting."""
    quick_room.post("1")
    path, target = quick_room.state / name, quick_room.state / "target"
    target.write_text("precious\n")
    if what == "link":
        path.symlink_to(target)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    assert quick_room.got() == []
    assert "no bulletins for alice: " in caplog.text
    assert target.read_text() == "precious\n"


def test_record_with_a_second_name_is_not_written(quick_room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody may have given another file of the user the name of the record."""
    quick_room.post("1")
    precious = quick_room.state.parent / "precious"
    precious.write_text("mail\n")
    os.link(precious, quick_room.state / "alice.popbull.popframe")

    assert quick_room.got() == []
    assert "has 2 names (hard links)" in caplog.text
    assert precious.read_text() == "mail\n"


def test_complaint_is_not_repeated_at_every_login(quick_room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that is gone concerns everybody."""
    quick_room.plugin()
    os.rename(quick_room.folder, quick_room.folder.with_name("away"))
    for _ in range(3):
        quick_room.log_in()

    assert caplog.text.count("no bulletins for alice") == 1
    os.rename(quick_room.folder.with_name("away"), quick_room.folder)
    quick_room.post("1")
    assert quick_room.got() == ["This is 1."]


def test_folder_that_is_missing_at_the_start_stops_nothing(quick_room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """The server starts, and the log says it."""
    assert quick_room.got(folder=quick_room.state / "nowhere") == []
    assert "nowhere cannot be read: No such file or directory" in caplog.text
