"""The commands: what a transcript cannot show because it is long, or because all commands take part."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from popframe import Outcome
from popframe.engine import Policy
from popframe.testing import check_framing
from popframe.testing.engine_server import EngineTransport

Connect = Callable[..., EngineTransport]

MESSAGES = [b"Subject: a\n\nhi\n", b"Subject: b\n\n.dot\nthere\n"]

EVERY_COMMAND = [
    "CAPA", "USER alice", "PASS wrong", "STAT", "NOOP", "FROB", "USER", "USER alice", "PASS secret",
    "CAPA", "STAT", "LIST", "LIST 1", "LIST 9", "UIDL", "UIDL 2", "UIDL 9", "RETR 1", "RETR 9", "TOP 2 1", "TOP 9 1",
    "TOP 1", "NOOP", "NOOP x", "USER bob", "PASS x", "DELE 1", "DELE 1", "RSET", "FROB", "APOP a b", "AUTH", "QUIT",
]  # fmt: skip
"""Each command, right and wrong, before and after login."""


def status_lines(said: bytes) -> list[bytes]:
    """Return what looks like a status line; no line of the messages does."""
    return re.findall(rb"^(?:\+OK|-ERR).*\r\n", said, re.MULTILINE)


def test_every_reply_has_the_form_of_one(connect: Connect) -> None:
    """P-002, P-003, P-014, C-042: each command has one reply, and no reply of one line has a dot behind it."""
    client = connect(MESSAGES)
    said = client.ask(*EVERY_COMMAND)
    sent = "".join(f"{command}\r\n" for command in EVERY_COMMAND).encode()

    check_framing(sent, b"+OK greeting\r\n" + said, is_closed=True)
    assert len(status_lines(said)) == len(EVERY_COMMAND)


def test_every_status_line_has_a_space_and_a_text(connect: Connect) -> None:
    """P-005: two historic clients need the space (RFC 1957)."""
    said = connect(MESSAGES).ask(*EVERY_COMMAND)

    assert all(re.fullmatch(rb"(\+OK|-ERR) [ -~]+\r\n", line) for line in status_lines(said))


def test_what_begins_with_a_bracket_is_a_response_code(connect: Connect) -> None:
    """C-017, C-033, C-042: and CAPA has RESP-CODES (RFC 2449 section 6.4)."""
    said = connect(MESSAGES).ask(*EVERY_COMMAND)
    bracketed = [line for line in status_lines(said) if b" [" in line]

    assert bracketed
    assert all(re.match(rb"-ERR \[[A-Z0-9-]+(/[A-Z0-9-]+)*\] ", line) for line in bracketed)
    assert b"\r\nRESP-CODES\r\n" in said


@pytest.mark.parametrize("octet", [*(octet for octet in range(0x20) if octet != 0x0A), 0x7F])
def test_a_control_character_makes_a_command_no_command(log_in: Connect, octet: int) -> None:
    """H-004, H-006, H-008: wherever it stands in the line, the line is not carried out (RFC 1939 section 3)."""
    client = log_in(MESSAGES)
    for line in (b"%cDELE 1 ", b"DE%cLE 1 ", b"DELE%c1 ", b"DELE 1%c ", b"DELE 1 %c "):
        client.send(line % octet + b"\r\n")

        assert client.receive(0.0) == b"-ERR control character in command\r\n"
    assert client.ask("STAT") == b"+OK 2 45\r\n"


def test_retr_top_list_and_uidl_change_nothing(log_in: Connect) -> None:
    """P-057, P-090: whatever was looked at, the maildrop is the same, also for the next session (RFC 1939 s. 5)."""
    client = log_in(MESSAGES)
    commands = ["STAT", "LIST", "UIDL", "RETR 1", "TOP 2 1", "RETR 2", "STAT", "LIST", "UIDL", "NOOP"]
    first = client.ask(*commands)
    second = client.ask(*commands)
    client.ask("QUIT")
    other = client.server.connect()
    other.log_in("alice", "secret")

    assert first == second == other.ask(*commands)


def test_top_and_retr_differ_in_what_they_count_for(log_in: Connect) -> None:
    """P-090: TOP of a whole message does not count as having read it (RFC 1460, LAST)."""
    client = log_in(MESSAGES)
    client.ask("TOP 2 999")
    assert client.session.last_accessed == 0
    client.ask("RETR 2", "RETR 1")

    assert client.session.last_accessed == 2
    assert client.session.transaction.seen == {0, 1}


def test_a_hundred_noops_in_a_row_are_answered(log_in: Connect) -> None:
    """Q-026: clients keep a session alive with them."""
    client = log_in(MESSAGES)

    assert [client.ask("NOOP") for _ in range(100)] == [b"+OK done\r\n"] * 100


def test_a_whole_maildrop_may_be_asked_for_in_one_go(log_in: Connect) -> None:
    """Q-027: a thousand RETR and ten thousand DELE, sent ahead (RFC 2449 section 6.6)."""
    client = log_in([b"Subject: %d\n\nhi\n" % number for number in range(1, 10_001)])
    retrieved = client.ask(*(f"RETR {number}" for number in range(1, 1001)))
    deleted = client.ask(*(f"DELE {number}" for number in range(1, 10_001)), "STAT", "QUIT")

    assert re.findall(rb"Subject: (\d+)\r\n", retrieved) == [b"%d" % number for number in range(1, 1001)]
    assert deleted.splitlines()[:-2] == [b"+OK message %d deleted" % number for number in range(1, 10_001)]
    assert deleted.splitlines()[-2:] == [b"+OK 0 0", b"+OK bye, 0 messages left"]


def test_listings_of_a_hundred_thousand_messages_are_whole_and_in_order(log_in: Connect) -> None:
    """P-046, P-053, P-091, P-100, Q-025, Q-039: number, one space, value; ascending, without gap or empty line."""
    count = 100_000
    client = log_in([b"x\n"] * count)
    listing = client.ask("LIST").split(b"\r\n")
    uids = client.ask("UIDL").split(b"\r\n")

    assert listing == [b"+OK %d messages (%d octets)" % (count, 3 * count)] + [
        b"%d 3" % number for number in range(1, count + 1)
    ] + [b".", b""]
    assert uids[1:-2] == [b"%d %d" % (number, number) for number in range(1, count + 1)]
    assert client.ask(f"LIST {count}", f"LIST {count + 1}") == b"+OK 100000 3\r\n-ERR no such message\r\n"


def test_sizes_and_totals_are_more_than_32_bits(log_in: Connect) -> None:
    """P-045, P-103: five messages of one GiB are five GiB (RFC 1939 section 5)."""

    class Huge:
        """Five huge messages that nobody reads."""

        def message_octets(self) -> list[int]:
            return [2**30] * 5

        def message_uids(self) -> list[str]:
            return list("abcde")

        def close(self) -> None:
            """Do nothing."""

    client = log_in(maildrop=Huge())

    assert client.ask("STAT") == b"+OK 5 5368709120\r\n"
    assert client.ask("DELE 5", "STAT").endswith(b"+OK 4 4294967296\r\n")


def test_top_of_a_long_message_is_never_cut(log_in: Connect) -> None:
    """Q-020, P-086: 300 KiB, many lines, and a line count larger than any: the same as RETR."""
    client = log_in([b"Subject: long\n\n" + b"0123456789\n" * 30_000])
    retrieved = client.ask("RETR 1").partition(b"\r\n")[2]
    top = client.ask("TOP 1 99999999").partition(b"\r\n")[2]

    assert top == retrieved
    assert len(top) == 15 + 2 + 30_000 * 12 + 3


def test_the_end_of_a_reply_leaves_together(log_in: Connect) -> None:
    """Q-037: the line that ends a reply is in the same batch as the line end before it."""
    for size in [*range(65_000, 65_600, 7), 131_000, 131_072]:
        client = log_in([b"x" * (size - 2)])
        client.session.receive_data(b"RETR 1\r\nSTAT\r\n")
        batches = [b"".join(buffers) for buffers in client.session.output()]

        assert b"".join(batches).endswith(b"\r\n.\r\n+OK 1 %d\r\n" % size)
        assert not any(batch.startswith(b".\r\n") for batch in batches)


@pytest.mark.parametrize("cut", range(1, len(b"DELE 1\r\nQUIT\r\n")))
def test_a_connection_that_ends_at_any_octet_removes_all_or_nothing(log_in: Connect, cut: int) -> None:
    """P-030, P-078: only a QUIT that came whole removes what is marked (RFC 1939 section 6)."""
    client = log_in(MESSAGES)
    client.send(b"DELE 1\r\nQUIT\r\n"[:cut])
    client.close()

    assert client.session.summary("s", 0.0).outcome is Outcome.DISCONNECTED
    assert client.server.connect().log_in("alice", "secret").startswith(b"+OK maildrop has 2 messages")


def test_a_site_may_have_nul_replaced(log_in: Connect) -> None:
    """Q-033, H-071: sizes stay the same, and so does everything that is no NUL."""
    message = b"Subject: z\n\n" + bytes(range(256)) + b"\n"
    passed = log_in([message]).ask("LIST 1", "RETR 1")
    replaced = log_in([message], policy=Policy(replace_nul=True)).ask("LIST 1", "RETR 1")

    assert b"\0" in passed
    assert replaced == passed.replace(b"\0", b"\x80")
