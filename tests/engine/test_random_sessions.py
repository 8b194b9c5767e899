"""Whole sessions made of random commands, compared with the plainest model of a maildrop that there can be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import cycle

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from popframe import Account, IncomingMessage, Maildrop, Outcome
from popframe.engine import AsciiMode, Policy
from popframe.testing import EngineServer, MemoryStore, Transcript
from popframe.testing.engine_server import ARRIVED
from popframe.testing.transcript import User

ALICE = Account("alice")

SCENE = Transcript(
    "random", (User("alice", b"secret"),), (), Policy(max_bad_commands=1_000_000, ascii_mode=AsciiMode.AS_IS)
)
"""Bad commands end no session here, and messages come as they are; limits and surrogates have tests of their own."""

STEPS = 30
"""Batches and ends of sessions in one example: several sessions on one maildrop."""

CONTENTS = st.lists(
    st.sampled_from([b"Subject: a", b"\n", b"\r\n", b"\n\n", b"\r", b".", b"\n.\n", b"..", b"x" * 70, b"\0", b"\xff"]),
    max_size=12,
).map(b"".join)

SIZES = st.lists(st.sampled_from([1, 2, 3, 5, 8, 13, 1000]), min_size=1, max_size=4)
"""How many octets come at a time, over and over."""

NUMBERS = st.one_of(
    st.integers(0, 8).map(str),
    st.sampled_from(["00", "01", "0003", "-1", "+1", "x", "1.0", "1_0", "\uff11", "\u00b2", "4294967297", "9" * 30]),
)
COUNTS = st.one_of(st.integers(0, 5).map(str), st.sampled_from(["007", "99999999", "-1", "x"]))

COMMANDS: st.SearchStrategy[tuple[str, ...]] = st.one_of(
    st.tuples(st.sampled_from(["STAT", "LIST", "UIDL", "NOOP", "RSET"])),
    st.tuples(st.sampled_from(["LIST", "UIDL", "RETR", "DELE", "DELE"]), NUMBERS),
    st.tuples(st.just("TOP"), NUMBERS, COUNTS),
    st.sampled_from([("RETR",), ("DELE",), ("TOP", "1"), ("STAT", "1"), ("RSET", "1"), ("DELE", "1", "2")]),
    st.sampled_from([("QUIT", "1"), ("USER", "bob"), ("PASS", "x"), ("FROB",), ("RETR1",), ("",)]),
)
"""Right ones and wrong ones, as words."""

BATCHES = st.lists(COMMANDS, min_size=1, max_size=8)
Form = tuple[Callable[[str], str], str, str]
FORMS: st.SearchStrategy[list[Form]] = st.lists(
    st.tuples(st.sampled_from([str.upper, str.lower, str.title]), st.sampled_from([" ", "   "]),
              st.sampled_from(["\r\n", "\n", " \r\n"])),
    min_size=1, max_size=3,
)  # fmt: skip
"""How commands are written: case, blanks, line end; over and over."""


@dataclass
class ModelMessage:
    """A message as it is stored."""

    uid: str
    stored: bytes
    is_deleted: bool = False

    @property
    def lines(self) -> list[bytes]:
        """The lines that a client gets, with their ends."""
        octets = re.sub(rb"(?<!\r)\n", b"\r\n", self.stored)
        octets += b"" if octets.endswith(b"\n") or not octets else b"\r\n"
        return re.findall(rb"[^\n]*\n", octets)

    @property
    def octets(self) -> int:
        """The size that a client is told."""
        return sum(map(len, self.lines))

    def top(self, line_count: int) -> list[bytes]:
        """Return the lines of TOP."""
        lines = self.lines if b"\r\n" in self.lines else [*self.lines, b"\r\n"]
        return lines[: lines.index(b"\r\n") + 1 + line_count]


@dataclass
class ModelSession:
    """What a session has to say."""

    messages: list[ModelMessage]
    seen: set[int] = field(default_factory=set)
    retr_count: int = 0

    @property
    def deleted(self) -> set[int]:
        """The indexes of what is marked."""
        return {index for index, message in enumerate(self.messages) if message.is_deleted}

    @property
    def left(self) -> list[tuple[int, ModelMessage]]:
        """What is not marked, with its number."""
        return [(number, message) for number, message in enumerate(self.messages, 1) if not message.is_deleted]

    @property
    def left_octets(self) -> int:
        """The size of what is not marked."""
        return sum(message.octets for _, message in self.left)

    def answer(self, command: tuple[str, ...]) -> bytes:
        """Return the reply to a command."""
        match command:
            case ["STAT"]:
                return b"+OK %d %d\r\n" % (len(self.left), self.left_octets)
            case ["LIST"]:
                status = b"%d messages (%d octets)" % (len(self.left), self.left_octets)
                return listing(status, [b"%d %d\r\n" % (number, message.octets) for number, message in self.left])
            case ["UIDL"]:
                lines = [b"%d %b\r\n" % (number, message.uid.encode()) for number, message in self.left]
                return listing(b"unique-id listing follows", lines)
            case ["NOOP"]:
                return b"+OK done\r\n"
            case ["RSET"]:
                for message in self.messages:
                    message.is_deleted = False
                return b"+OK %d messages (%d octets)\r\n" % (len(self.messages), self.left_octets)
            case ["LIST" | "UIDL" | "RETR" | "DELE" as verb, number]:
                return self._about_one(verb, number)
            case ["TOP", number, count]:
                return self._about_one("TOP", number, count)
            case ["USER" | "PASS", _]:
                return b"-ERR command not valid in this state\r\n"
            case ["FROB" | "RETR1" | ""]:
                return b"-ERR unknown command\r\n"
            case _:
                return b"-ERR wrong number of arguments\r\n"

    def _about_one(self, verb: str, text: str, count: str = "") -> bytes:
        found = {number: message for number, message in self.left if re.fullmatch(f"0*{number}", text)}
        if not found:
            return b"-ERR no such message\r\n"
        [(number, message)] = found.items()
        if verb == "LIST":
            return b"+OK %d %d\r\n" % (number, message.octets)
        if verb == "UIDL":
            return b"+OK %d %b\r\n" % (number, message.uid.encode())
        if verb == "DELE":
            message.is_deleted = True
            return b"+OK message %d deleted\r\n" % number
        if verb == "RETR":
            self.seen.add(number - 1)
            self.retr_count += 1
            return listing(b"%d octets" % message.octets, message.lines)
        if not re.fullmatch("[0-9]+", count):
            return b"-ERR command not understood\r\n"
        return listing(b"top of message follows", message.top(int(count)))


def listing(status: bytes, lines: list[bytes]) -> bytes:
    """Return a multi-line response (RFC 1939 section 3)."""
    stuffed = [b"." + line if line.startswith(b".") else line for line in lines]
    return b"".join([b"+OK ", status, b"\r\n", *stuffed, b".\r\n"])


class WatchedMaildrop:
    """A maildrop that hands its messages out in small pieces and remembers how it was used."""

    def __init__(self, inner: Maildrop, sizes: list[int]) -> None:
        self.message_octets = inner.message_octets
        self.message_uids = inner.message_uids
        self.commits: list[tuple[AbstractSet[int], AbstractSet[int]]] = []
        self.close_count = 0
        self._inner = inner
        self._sizes = sizes

    def read_message(self, index: int) -> Iterator[bytes]:
        """Yield a message in pieces."""
        return in_pieces(b"".join(self._inner.read_message(index)), self._sizes)

    def commit(self, deleted: AbstractSet[int], seen: AbstractSet[int]) -> None:
        """Remove messages."""
        self.commits.append((deleted, seen))
        self._inner.commit(deleted, seen)

    def close(self) -> None:
        """End the session."""
        self.close_count += 1
        self._inner.close()


class WatchedStore:
    """A store that keeps the maildrop that it opened last."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.sizes = [1000]

    def popframe_open_maildrop(self, account: Account) -> Maildrop:
        """Open a maildrop."""
        self.maildrop = WatchedMaildrop(self.inner.popframe_open_maildrop(account), self.sizes)
        return self.maildrop

    def popframe_deliver_message(self, account: Account, message: IncomingMessage) -> bool:
        """Put a message into a maildrop."""
        return self.inner.popframe_deliver_message(account, message)


class Sessions(RuleBasedStateMachine):
    """Sessions on one maildrop, one after the other, with mail that arrives meanwhile.

    P-025, P-030, P-031, P-034, P-037, P-042, P-044, P-049, P-057, P-066, P-068, P-070, P-071, P-072, P-077, P-083,
    P-084, P-086, P-087, P-088, P-096, P-097, P-100, H-012, H-023 and H-024, in any order of commands.
    """

    @initialize(contents=st.lists(CONTENTS, max_size=6), sizes=SIZES)
    def begin(self, contents: list[bytes], sizes: list[int]) -> None:
        """Fill the maildrop and log in."""
        self.store = WatchedStore()
        self.server = EngineServer(SCENE, store=self.store)
        self.stored: list[ModelMessage] = []
        self.delivered_count = 0
        for content in contents:
            self.deliver(content)
        self.log_in(sizes)

    @rule(content=CONTENTS)
    def deliver(self, content: bytes) -> None:
        """New mail arrives; an open session does not see it (RFC 1939 section 4)."""
        assert self.store.popframe_deliver_message(ALICE, IncomingMessage("bob@example.org", ARRIVED, content))
        self.delivered_count += 1
        self.stored.append(ModelMessage(str(self.delivered_count), content))

    def log_in(self, sizes: list[int]) -> None:
        """Begin a session, which may only be when the one before has let go of the maildrop."""
        self.store.sizes = sizes
        self.client = self.server.connect()
        self.model = ModelSession(list(self.stored))
        said = self.client.log_in("alice", "secret")

        expected = b"+OK maildrop has %d messages (%d octets)\r\n" % (len(self.stored), self.model.left_octets)
        assert said == expected

    def say(self, commands: str, sizes: list[int]) -> bytes:
        """Send octets as the sizes cut them; return what is said."""
        for piece in in_pieces(commands.encode(), sizes):
            self.client.send(piece)
        return self.client.ask()

    @rule(batch=BATCHES, forms=FORMS, sizes=SIZES)
    def ask(self, batch: list[tuple[str, ...]], forms: list[Form], sizes: list[int]) -> None:
        """Send some commands together."""
        said = self.say(written(batch, forms), sizes)

        assert said == b"".join(self.model.answer(command) for command in batch)

    @rule(batch=BATCHES, behind=BATCHES, forms=FORMS, sizes=SIZES)
    def quit(
        self, batch: list[tuple[str, ...]], behind: list[tuple[str, ...]], forms: list[Form],
        sizes: list[int],
    ) -> None:  # fmt: skip
        """Send some commands, QUIT, and what is not read any more; then look at what is left (RFC 1939 section 6)."""
        said = self.say(written([*batch, ("QUIT",), *behind], forms), sizes)
        expected = b"".join(self.model.answer(command) for command in batch)
        maildrop, deleted = self.store.maildrop, self.model.deleted
        removed = [message for message in self.model.messages if message.is_deleted]
        left_count = len(self.model.left)
        self.stored = [message for message in self.stored if not message.is_deleted]

        assert said == expected + b"+OK bye, %d messages left\r\n" % left_count
        assert maildrop.commits == [(deleted, self.model.seen)]
        self.check_end(Outcome.QUIT, removed)
        self.log_in(sizes)

    @rule(
        half=st.sampled_from(["", "QUIT", "QUIT\r", "DELE 1\nQUIT"]),
        outcome=st.sampled_from([Outcome.DISCONNECTED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN]), sizes=SIZES,
    )  # fmt: skip
    def abort(self, half: str, outcome: Outcome, sizes: list[int]) -> None:
        """End the session without a whole QUIT: nothing is removed (RFC 1939 sections 3 and 6)."""
        self.say(half, sizes)
        self.client.session.abort(outcome)
        for message in self.model.messages:
            message.is_deleted = False

        assert self.store.maildrop.commits == []
        self.check_end(outcome, [])
        self.log_in(sizes)

    def check_end(self, outcome: Outcome, removed: list[ModelMessage]) -> None:
        """Check what the session tells of itself, and that it has let go of the maildrop."""
        summary = self.client.session.summary("s", 0.0)
        left = [message for message in self.model.messages if message not in removed]

        assert self.client.session.is_closed
        assert self.store.maildrop.close_count == 1
        assert summary.outcome is outcome
        assert summary.retr_count == self.model.retr_count
        assert (summary.deleted_count, summary.deleted_octets) == (len(removed), octets_of(removed))
        assert (summary.left_count, summary.left_octets) == (len(left), octets_of(left))

    def teardown(self) -> None:
        """Look at what the store has in the end: all that is not removed, in order, unchanged."""
        if not hasattr(self, "client"):
            return
        self.client.close()
        maildrop = self.store.inner.popframe_open_maildrop(ALICE)
        uids = maildrop.message_uids()
        contents = [b"".join(maildrop.read_message(index)) for index in range(len(uids))]

        assert list(zip(uids, contents, strict=True)) == [(message.uid, message.stored) for message in self.stored]
        assert self.server.errors == []


def octets_of(messages: list[ModelMessage]) -> int:
    """Return the size of messages together."""
    return sum(message.octets for message in messages)


def written(commands: list[tuple[str, ...]], forms: list[Form]) -> str:
    """Return the command lines as clients write them."""
    lines = [
        blank.join([case(verb), *arguments]) + end
        for (verb, *arguments), (case, blank, end) in zip(commands, cycle(forms), strict=False)
    ]
    return "".join(lines)


def in_pieces(octets: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut octets into pieces of the given sizes, over and over."""
    for size in cycle(sizes):
        if not octets:
            return
        yield octets[:size]
        octets = octets[size:]


TestSessions = Sessions.TestCase
TestSessions.settings = settings(stateful_step_count=STEPS)
