"""``popframe bulletin``: nobody numbers files by hand, and an operator sees who has what."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from popframe.testing import SystemUsers

from .bulletin_room import Room

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]


@pytest.fixture
def bulletin(quick_room: Room) -> Command:
    """Return a function that runs the command for the room."""
    configure(quick_room)

    def bulletin(action: str, *arguments: str, stdin: str = "") -> Result:
        return subprocess.run(
            [sys.executable, "-m", "popframe", "bulletin", action, "--config", config(quick_room), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
        )

    return bulletin


def config(room: Room) -> str:
    """Return the configuration file of a room."""
    return str(room.folder.parent / "popframe.toml")


def configure(room: Room, more: str = "", *, state: str = 'state_dir = "state"') -> None:
    """Write the configuration."""
    Path(config(room)).write_text(
        'plugins = ["auth_file", "store_mbox", "bulletin"]\n[plugin.auth_file]\npath = "users"\n'
        f'[plugin.bulletin]\nfolder = "bulletins"\ndomain = "pop.example.org"\n{state}\n{more}\n'
    )


def age(room: Room) -> None:
    """Let all files be old."""
    for path in room.folder.iterdir():
        room.aged(path)


def test_text_becomes_the_next_bulletin(quick_room: Room, bulletin: Command) -> None:
    """Numbered behind the highest, readable for all, and delivered."""
    quick_room.post("0041.old")
    quick_room.popbull().write_text("41\n")
    quick_room.state.joinpath("text").write_text("Grüße, from the staff.\n")
    done = bulletin("post", "--subject", "Mail is down: Sunday! Größer", str(quick_room.state / "text"))
    path = quick_room.folder / "0042.mail-is-down-sunday-gr-er"
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{path}\n")
    assert path.stat().st_mode & 0o777 == 0o644
    age(quick_room)
    quick_room.log_in()
    (message,) = quick_room.mail()
    assert b"\nTo: alice@pop.example.org\n" in message
    assert b"\nFrom: postmaster@pop.example.org\n" in message
    assert b"\nSubject: Mail is down: Sunday! =?utf-8?" in message
    assert bulletin("list").stdout.splitlines()[1].endswith("\tMail is down: Sunday! Größer")
    assert path.read_bytes().startswith(b"From postmaster@pop.example.org ")


@pytest.mark.parametrize("begin", ["", "From staff@example.org Mon Jan  5 09:00:00 2026\n"])
def test_message_becomes_a_bulletin_as_it_is(quick_room: Room, bulletin: Command, begin: str) -> None:
    """From standard input too."""
    done = bulletin("post", stdin=f"{begin}Subject: as it is\nX-Odd: yes\n\ntext\n")
    assert done.stdout == f"{quick_room.folder}/0001.as-it-is\n"
    content = (quick_room.folder / "0001.as-it-is").read_text()
    assert content.partition("\n")[2] == "Subject: as it is\nX-Odd: yes\n\ntext\n\n"
    assert content.startswith(begin)


def test_number_is_never_given_twice(quick_room: Room, bulletin: Command) -> None:
    """Not even when the file with the highest is gone."""
    bulletin("post", "--subject", "a", stdin="x\n")
    bulletin("post", "--subject", "b", stdin="x\n")
    (quick_room.folder / "0002.b").unlink()
    assert bulletin("post", "--subject", "c", stdin="x\n").stdout.endswith("/0003.c\n")


def test_several_at_once_get_several_numbers(quick_room: Room, bulletin: Command) -> None:
    """They wait for each other."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bulletin("post", "--subject", "x", stdin="x\n"), range(4)))
    assert sorted(path.name for path in quick_room.folder.iterdir() if path.name[0] != ".") == [
        f"000{number}.x" for number in range(1, 5)
    ]


def test_dates_template_and_group_are_kept(quick_room: Room, bulletin: Command) -> None:
    """As fields of the file, and in its name."""
    configure(quick_room, 'group_bulletins = true\ngroups = { staff = ["alice"] }')
    text = "Dear {user}, äh\n"
    options = ["--begins", "2020-01-01", "--expires", "2999-12-31", "--template", "--group", "staff"]
    done = bulletin("post", "--subject", "s", *options, stdin=text)
    assert done.stdout == f"{quick_room.folder}/0001.staff.s\n", done.stderr
    age(quick_room)
    quick_room.plugin(group_bulletins=True, groups={"staff": ("alice",)})
    assert quick_room.got("alice") == ["Dear alice, äh"]
    assert quick_room.got("bob") == []
    listed = bulletin("list").stdout.split("\t")
    assert listed[:3] == ["1", "staff", "current"]
    bulletin("post", "--subject", "all", stdin="x\n")
    assert (quick_room.folder / "0002.ALL.all").exists()


@pytest.mark.parametrize(
    ("options", "stdin", "reason"),
    [
        ([], "just text\n", "a text needs --subject"),
        ([], "", "a text needs --subject"),
        (["--subject", "x", "--expires", "2020-01-01"], "x\n", "before anybody gets it"),
        (["--subject", "x", "--template"], "{nobody}\n", "'{nobody}' is none of {user}"),
        (["--subject", "x", "--group", "staff"], "x\n", "group_bulletins = true first"),
        (["--subject", "x\ny"], "x\n", "a header cannot be made of this"),
        (["--subject", "x"], "x" * 5000 + "\n", "more than max_octets"),
        (["/nowhere/at/all"], "", "/nowhere/at/all: No such file or directory"),
        ([], "From x\nSubject: y\n\nz\n", "does not begin with a From_ line"),
    ],
)
def test_bulletin_that_could_not_be_delivered_is_not_posted(
    quick_room: Room, bulletin: Command, options: list[str], stdin: str, reason: str
) -> None:
    """With the reason, and without a number."""
    configure(quick_room, "max_octets = 4000")
    done = bulletin("post", *options, stdin=stdin)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    assert list(quick_room.folder.iterdir()) == []


def test_unknown_group_is_refused(quick_room: Room, bulletin: Command) -> None:
    """Nobody would get it."""
    configure(quick_room, "group_bulletins = true")
    for group in ("no-such-group", "a.b", "../x"):
        done = bulletin("post", "--subject", "x", "--group", group, stdin="x\n")
        assert (done.returncode, done.stdout) == (1, "")
        assert "so nobody would get it" in done.stderr


def test_list_tells_what_becomes_of_each(quick_room: Room, bulletin: Command) -> None:
    """Also of bad ones, and no terminal obeys a name."""
    quick_room.post("1.a")
    quick_room.post("2.b", header=b"X-Bulletin-Expires: 2020-01-01T10:00+00:00\n")
    quick_room.post("3.c", header=b"X-Bulletin-Begins: 2999-01-01\n")
    (quick_room.folder / "4.d").write_bytes(b"bad")
    quick_room.aged(quick_room.folder / "4.d")
    quick_room.post("5.\x1b[31m")
    (quick_room.folder / "6.link").symlink_to("1.a")
    (quick_room.folder / "1.a").rename(quick_room.folder / os.fsdecode(b"1.\xff"))
    lines = [line.split("\t") for line in bulletin("list").stdout.splitlines()]
    assert [line[0] for line in lines] == ["1", "2", "3", "4", "5", "-"]
    assert [line[2].split()[0] for line in lines] == ["current", "expired", "begins", "bad:", "current", "passed"]
    assert lines[0] == ["1", "all", "current", "1.\\udcff", "news"]
    assert "\x1b" not in "".join(map("".join, lines))


def test_status_tells_who_has_what(quick_room: Room, bulletin: Command) -> None:
    """Of all who have a file, whatever their names are."""
    for user, content in {"alice": "12\n", "bob": "12\nlater 10\n", "a%2Fb": "9\n", "new": ""}.items():
        quick_room.popbull(user).write_text(content)
    assert bulletin("status").stdout.splitlines() == [
        "a/b\tup to 9",
        "alice\tup to 12",
        "bob\tup to 12, but for 10",
        "new\tnew: gets the newest at the next login",
    ]
    assert [line.split("\t")[1] for line in bulletin("status", "10").stdout.splitlines()] == [
        "lacks it",
        "has it",
        "lacks it",
        "lacks it",
    ]


@pytest.mark.skipif(not SystemUsers.is_possible(), reason="needs root: real users of the machine")
def test_status_reads_home_directories(quick_room: Room, bulletin: Command, tmp_path: Path) -> None:
    """When there is no folder for the states; what a user puts there leads nowhere."""
    configure(quick_room, state="")
    with SystemUsers() as users:
        names: list[str] = []
        for content in (b"7\n", None):
            home = tmp_path / f"home{len(names)}"
            home.mkdir()
            names.append(users.add("--home-dir", str(home)))
            if content:
                (home / ".popbull").write_bytes(content)
            else:
                (home / ".popbull").symlink_to("/etc/shadow")
        lines = dict(line.split("\t") for line in bulletin("status").stdout.splitlines())
    assert lines[names[0]] == "up to 7"
    assert lines[names[1]].startswith("not known: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('plugins = ["store_mbox"]\n', "popframe.toml:1: plugins: 'bulletin' is not in this list\n"),
        (
            'plugins = ["bulletin"]\n[plugin.bulletin]\nmax_octets = "x"\n',
            "popframe.toml:3: plugin.bulletin.max_octets: must be a whole number, not a string\n",
        ),
        ("plugins = [", "popframe.toml:1: "),
    ],
)
def test_configuration_that_cannot_be_used(quick_room: Room, bulletin: Command, text: str, reason: str) -> None:
    """Exit status 2."""
    Path(config(quick_room)).write_text(text)
    done = bulletin("list")
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


def test_post_that_cannot_write_leaves_nothing(quick_room: Room, bulletin: Command) -> None:
    """A folder that is missing."""
    os.rmdir(quick_room.folder)
    done = bulletin("post", "--subject", "x", stdin="x\n")
    assert done.returncode == 1
    assert "bulletins: No such file or directory" in done.stderr
