"""The form of a transcript."""

from __future__ import annotations

from pathlib import Path

import pytest

from popframe import MaildropInUse, TemporaryFailure
from popframe.engine import ImplementationShown, Policy
from popframe.testing import TranscriptError, parse_transcript, read_transcript
from popframe.testing.transcript import (
    ClientReconnects,
    ClientSays,
    Failure,
    ServerCloses,
    ServerSays,
    User,
    unescape,
)


def test_a_dialogue_is_read_step_by_step() -> None:
    """Each line of the dialogue is one step, with its number for messages."""
    transcript = parse_transcript("# why\n\nS: +OK*\nC: QUIT\nS: +OK bye\nconnection closed\nnew connection\nS: +OK*\n")

    assert transcript.steps == (
        ServerSays(3, b"+OK", is_beginning=True),
        ClientSays(4, b"QUIT\r\n"),
        ServerSays(5, b"+OK bye"),
        ServerCloses(6),
        ClientReconnects(7),
        ServerSays(8, b"+OK", is_beginning=True),
    )


def test_raw_octets_have_no_line_end() -> None:
    """``C>`` sends what stands there and nothing more; ``C:`` and ``S:`` alone are empty lines."""
    transcript = parse_transcript("C> STAT\\n\nC:\nS:\n")

    assert transcript.steps == (ClientSays(1, b"STAT\n"), ClientSays(2, b"\r\n"), ServerSays(3, b""))


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (r"a\r\n\t\0\\b", b"a\r\n\t\0\\b"),
        (r"\x00\xfF\x20", b"\x00\xff "),
        (r"\{3 ab}c", b"abababc"),
        (r"\{2 \r\n}\{2  }", b"\r\n\r\n  "),
        (r"\*", b"*"),
        ("é{}*", b"\xc3\xa9{}*"),
        ("", b""),
    ],
)
def test_escapes_stand_for_octets(text: str, octets: bytes) -> None:
    """Hostile input can be written, and everything else is UTF-8."""
    assert unescape(text) == octets


def test_only_a_bare_star_at_the_end_matches_any_rest() -> None:
    r"""``\*`` is a star."""
    beginning, star = parse_transcript("S: +OK*\nS: +OK \\*\n").steps

    assert isinstance(beginning, ServerSays)
    assert isinstance(star, ServerSays)
    assert beginning.matches(b"+OK whatever\r\n")
    assert not beginning.matches(b"+OK whatever\n")
    assert not beginning.matches(b"-ERR\r\n")
    assert star.matches(b"+OK *\r\n")
    assert not star.matches(b"+OK **\r\n")


def test_directives_set_the_scene() -> None:
    """Users, mail, choices and failures are what the directives say."""
    transcript = parse_transcript(
        "@ user alice secret\n@ message Subject: a\\n\\nhi\\n\n@ message\n@ user bob two  words\\x20\n@ messages 2 x\n"
        "@ policy replace_nul true\n@ policy max_bad_commands 12\n@ policy implementation_shown never\n"
        "@ policy greeting hello there\n@ failure open MaildropInUse\n@ failure read 2 TemporaryFailure\n"
        "@ failure update defect\n@ multi-line XLIST\nS: +OK*\n"
    )

    assert transcript.users == (
        User("alice", b"secret", (b"Subject: a\n\nhi\n", b"")),
        User("bob", b"two  words ", (b"x", b"x")),
    )
    assert transcript.policy == Policy(
        greeting="hello there",
        implementation_shown=ImplementationShown.NEVER,
        max_bad_commands=12,
        replace_nul=True,
    )
    assert transcript.failures == (
        Failure("open", 0, MaildropInUse),
        Failure("read", 2, TemporaryFailure),
        Failure("update", 0, RuntimeError),
    )
    assert transcript.multi_line == {"XLIST"}


def test_without_a_user_there_is_alice() -> None:
    """A short transcript needs no user; a message alone is hers."""
    assert parse_transcript("S: +OK*\n").users == (User("alice", b"secret"),)
    assert parse_transcript("@ message x\nS: +OK*\n").users == (User("alice", b"secret", (b"x",)),)


@pytest.mark.parametrize(("directive", "name", "password"), [("", b"alice", b"a b"), (" bob", b"bob", b"second")])
def test_log_in_puts_a_login_in_front(directive: str, name: bytes, password: bytes) -> None:
    """``@ log in`` spares a transcript the five lines that it is not about."""
    transcript = parse_transcript(f"@ user alice a b\n@ user bob second\n@ log in{directive}\nC: STAT\n")

    assert transcript.steps == (
        ServerSays(3, b"+OK", is_beginning=True),
        ClientSays(3, b"USER " + name + b"\r\n"),
        ServerSays(3, b"+OK", is_beginning=True),
        ClientSays(3, b"PASS " + password + b"\r\n"),
        ServerSays(3, b"+OK", is_beginning=True),
        ClientSays(4, b"STAT\r\n"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C: x\nhello\n", "t:2: a line begins with '#'"),
        ("C:x\n", "t:1: a line begins with '#'"),
        ("connection  closed\n", "t:1: a line begins with '#'"),
        ("C: STAT \n", "t:1: a blank at the end of a line"),
        ("C: \\q\n", "t:1: \\q means nothing"),
        ("C: x\\\n", "t:1: \\ means nothing"),
        ("C: \\xg0\n", "t:1: \\x means nothing"),
        ("C: \\{x y}\n", "t:1: \\{ means nothing"),
        ("@ frob x\nC: x\n", "t:1: no such directive"),
        ("@ log out\nC: x\n", "t:1: no such directive"),
        ("C: x\n@ log in\n", "t:2: directives stand before"),
        ("@ user bob\nC: x\n", "t:1: '@ user' takes a name and a password"),
        ("@ messages many x\nC: x\n", "t:1: 'many' is no number"),
        ("@ messages \u0663 x\nC: x\n", "t:1: '\u0663' is no number"),
        ("@ policy colour blue\nC: x\n", "t:1: no such policy; there are greeting"),
        ("@ policy replace_nul perhaps\nC: x\n", "t:1: 'perhaps' is no value of replace_nul"),
        ("@ policy max_bad_commands many\nC: x\n", "t:1: 'many' is no value"),
        ("@ policy implementation_shown sometimes\nC: x\n", "t:1: 'sometimes' is no value"),
        ("@ failure tea TemporaryFailure\nC: x\n", "t:1: '@ failure' takes one of login, open, read NUMBER"),
        ("@ failure read TemporaryFailure\nC: x\n", "t:1: 'TemporaryFailure' is no number"),
        ("@ failure login\nC: x\n", "t:1: '@ failure' takes one of"),
        ("@ failure login Exception\nC: x\n", "t:1: Exception is neither 'defect' nor an exception"),
        ("@ failure login ClassVar\nC: x\n", "t:1: ClassVar is neither"),
        ("@ log in bob\nC: x\n", "t:2: '@ log in' names bob"),
        ("# nothing\n\n", "t: nobody says anything"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, message: str) -> None:
    """Whoever writes a transcript is told where it is wrong and what would be right."""
    with pytest.raises(TranscriptError) as caught:
        parse_transcript(text, "t")

    assert str(caught.value).startswith(message)


def test_a_file_is_named_in_messages(tmp_path: Path) -> None:
    """The message about a file begins with its path."""
    path = tmp_path / "dele.txt"
    path.write_text("C: ünsal\nfrob\n", "utf-8")

    with pytest.raises(TranscriptError, match=r"dele\.txt:2: "):
        read_transcript(path)
