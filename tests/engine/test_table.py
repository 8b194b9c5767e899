"""The command table: what is valid where, and what CAPA says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from popframe import IN_AUTHORIZATION, IN_BOTH, IN_TRANSACTION, Command, CommandContext, ConfigError, Reply, State
from popframe.engine import Channel, CommandTable, ImplementationShown, Policy, reserved_verbs

REGISTERED = {
    "USER", "TOP", "UIDL", "SASL", "RESP-CODES", "AUTH-RESP-CODE", "LOGIN-DELAY", "PIPELINING", "EXPIRE",
    "IMPLEMENTATION", "STLS", "LANG", "UTF8",
}  # fmt: skip
"""The tags that IANA has registered (pop3-extension-mechanism)."""


def answer(_context: CommandContext, _arguments: Sequence[str]) -> Reply:
    """Carry out nothing."""
    return Reply("done")


def extension(verb: str, capability: str = "", states: frozenset[State] = IN_TRANSACTION) -> Command[CommandContext]:
    """Return a row as a plugin gives it."""
    return Command(verb, answer, states, capability=capability)


def capabilities(table: CommandTable, state: State, channel: Channel = Channel.TRUSTED) -> list[str]:
    """Return the lines of CAPA."""
    lines = table.capabilities(state, channel).decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return lines


@pytest.mark.parametrize("shown", ImplementationShown)
@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.TRANSACTION])
def test_capabilities_have_the_form_that_rfc_2449_wants(state: State, shown: ImplementationShown) -> None:
    """C-002, C-003, C-005, C-009, C-010, C-026: tags in upper case, no blank too many, none twice, none unknown."""
    lines = capabilities(CommandTable(Policy(implementation_shown=shown)), state)
    tags = [line.partition(" ")[0] for line in lines]

    assert all(re.fullmatch(r"[!-\-/-~]+( [!-~]+)*", line) and len(line) <= 510 for line in lines)
    assert all(tag == tag.upper() for tag in tags)
    assert len(tags) == len(set(tags)) < 50
    assert set(tags) <= REGISTERED
    assert "EXPIRE NEVER" in lines


def test_nothing_but_the_implementation_differs_between_the_states() -> None:
    """C-006, C-012: clients read only the first CAPA (RFC 2449 section 5)."""
    table = CommandTable(Policy())
    before, after = (capabilities(table, state) for state in (State.AUTHORIZATION, State.TRANSACTION))

    assert [line for line in after if line not in before] == ["IMPLEMENTATION popframe"]
    assert [line for line in before if line not in after] == []


@pytest.mark.parametrize(
    ("shown", "where"),
    [
        (ImplementationShown.NEVER, []),
        (ImplementationShown.AFTER_LOGIN, [State.TRANSACTION]),
        (ImplementationShown.ALWAYS, [State.AUTHORIZATION, State.TRANSACTION]),
    ],
)
def test_the_implementation_is_shown_where_the_site_wants_it(shown: ImplementationShown, where: list[State]) -> None:
    """C-029: never, after login, or always (RFC 2449 section 6.9)."""
    table = CommandTable(Policy(implementation="Example 1.0", implementation_shown=shown))

    assert [
        s for s in State if s is not State.UPDATE and "IMPLEMENTATION Example 1.0" in capabilities(table, s)
    ] == where


def test_only_what_works_is_announced_and_what_works_is_valid() -> None:
    """C-011, C-013, C-014, C-016, C-030, C-032: no tag without a command, no command without its tag."""
    table = CommandTable(Policy())
    lines = capabilities(table, State.AUTHORIZATION)

    assert {"USER", "TOP", "UIDL", "UTF8 USER", "LANG"} < set(lines)
    assert b"USER" in table.commands(State.AUTHORIZATION, Channel.TRUSTED)
    assert {b"UTF8", b"LANG"} < set(table.commands(State.AUTHORIZATION, Channel.TRUSTED))
    assert {b"TOP", b"UIDL", b"LANG"} < set(table.commands(State.TRANSACTION, Channel.TRUSTED))
    for verb in ("SASL", "APOP", "STLS", "LAST", "RPOP", "XTND", "AUTH"):
        assert not any(line.partition(" ")[0] == verb for line in lines)
        assert not table.knows(verb.encode())


def test_no_command_is_valid_in_the_update_state() -> None:
    """P-031: whoever has said QUIT is not asked for more (RFC 1939 section 6)."""
    assert not CommandTable(Policy(), [extension("XFOO", states=IN_BOTH)]).commands(State.UPDATE, Channel.TRUSTED)


def test_an_extension_is_valid_in_its_states_and_announced_in_both() -> None:
    """C-006: a capability is told before login too (RFC 2449 section 5)."""
    rows = [extension("XFOO", "XFOO 1 2", IN_TRANSACTION), extension("XBAR", "", IN_AUTHORIZATION)]
    table = CommandTable(Policy(), rows)

    assert b"XFOO" not in table.commands(State.AUTHORIZATION, Channel.TRUSTED)
    assert table.commands(State.TRANSACTION, Channel.TRUSTED)[b"XFOO"] is rows[0]
    assert table.commands(State.AUTHORIZATION, Channel.TRUSTED)[b"XBAR"] is rows[1]
    assert table.knows(b"XFOO")
    assert not table.knows(b"XBAZ")
    assert all("XFOO 1 2" in capabilities(table, state) for state in (State.AUTHORIZATION, State.TRANSACTION))


def test_two_commands_may_share_one_capability() -> None:
    """C-010: USER stands for USER and PASS; a plugin's tag may do the same, and is told once (RFC 2449 section 6.2)."""
    table = CommandTable(Policy(), [extension("XFOO", "XFOO"), extension("XBAR", "XFOO")])

    assert capabilities(table, State.AUTHORIZATION).count("XFOO") == 1


@pytest.mark.parametrize(
    "capability",
    ["X FOO ", "X  FOO", " X", "X.FOO", "X\r\nSTLS", "X\n", "X\tY", "XÄ", "X\x7f", "X " + "y" * 509],
)
def test_a_capability_that_could_not_be_sent_stops_the_start(capability: str) -> None:
    """C-002, C-003: one line of printable ASCII, a tag without a dot, single spaces (RFC 2449 sections 3 and 5)."""
    with pytest.raises(ConfigError, match="capability"):
        CommandTable(Policy(), [extension("XFOO", capability)])


def test_the_longest_capability_is_accepted() -> None:
    """C-003: 512 octets with CRLF (RFC 2449 section 5)."""
    capability = "X " + "y" * 508

    assert capability in capabilities(CommandTable(Policy(), [extension("XFOO", capability)]), State.TRANSACTION)


@pytest.mark.parametrize("capability", ["TOP 1", "uidl x", "EXPIRE 5", "IMPLEMENTATION other", "pipelining x"])
def test_a_tag_with_two_meanings_stops_the_start(capability: str) -> None:
    """C-010: no tag is listed twice; tags are case-insensitive."""
    with pytest.raises(ConfigError, match="announced twice"):
        CommandTable(Policy(), [extension("XFOO", capability)])


def test_an_implementation_that_could_not_be_sent_stops_the_start() -> None:
    """C-002: whether it is shown or not."""
    with pytest.raises(ConfigError, match="IMPLEMENTATION"):
        CommandTable(Policy(implementation="two  blanks", implementation_shown=ImplementationShown.NEVER))


def test_the_verbs_of_the_engine_are_reserved() -> None:
    """No plugin can take the place of RFC 1939's commands."""
    assert reserved_verbs() == {
        "CAPA", "STLS", "USER", "PASS", "APOP", "AUTH", "QUIT", "STAT", "LIST", "RETR", "DELE", "NOOP", "RSET",
        "TOP", "UIDL", "UTF8", "LANG",
    }  # fmt: skip
