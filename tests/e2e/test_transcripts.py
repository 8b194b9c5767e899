"""The transcripts of tests/conformance, played against the real server: fronts, sockets, auth_file, store_mbox."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path

import pytest
from pydantic import ValidationError

from popframe.config import Pop3Settings
from popframe.engine import Policy
from popframe.password import hash_password
from popframe.testing import MailSite, RawClient, SocketTransport, Transcript, play, read_transcript
from popframe.testing.site import QUICK_SCHEME
from popframe.testing.transcript import MECHANISMS, ClientReconnects, ClientSays, ServerSays, Step

HERE = Path(__file__).parent
PATHS = sorted((HERE.parent / "conformance").glob("*/*.txt"))

ELSEWHERE = ("clear_text", "offers_tls", "offers_apop")
"""Choices that are no settings of the table ``[pop3]``; the site has the usual ones."""

LEAST_PLAYED = 80
"""So many transcripts suppose nothing that a site with an mbox does not have."""


IN_POP3 = [field.name for field in fields(Policy) if field.name in {*Pop3Settings.model_fields, "implementation_shown"}]
"""Choices that stand in the table [pop3]; transcripts that make others are played against the engine alone."""


class Site:
    """A running server whose settings, users and mail become those of one transcript after the other."""

    def __init__(self, site: MailSite) -> None:
        self._site = site
        self._server = site.server()
        self._policy: Policy | None = None
        self._connections = itertools.count()

    def prepare(self, transcript: Transcript) -> None:
        """Make the users and the mail of a transcript the only ones."""
        if transcript.policy != self._policy:
            self._start(transcript.policy)
        for path in (self._site.directory / "mail").iterdir():
            path.unlink()
        lines = [f"{user.name}:{hash_password(user.password, QUICK_SCHEME)}\n" for user in transcript.users]
        users = self._site.directory / "users"
        new = users.with_suffix(".new")
        new.write_text("".join(lines), "utf-8")
        new.chmod(0o600)
        for user in transcript.users:
            self._site.put(user.name, list(user.messages))
        os.replace(new, users)

    def uids(self, transcript: Transcript) -> dict[bytes, bytes]:
        """Return what the store calls the messages that a transcript counts from 1, over all users."""
        found: list[bytes] = []
        for user in transcript.users:
            with RawClient(self.next_address()) as client:
                client.send(b"USER %b\r\nPASS %b\r\nUIDL\r\nQUIT\r\n" % (user.name.encode(), user.password))
                replies = client.rest().splitlines()
                found += [line.split()[1] for line in replies[3 : replies.index(b".")]]
        return {b"%d" % number: uid for number, uid in enumerate(found, start=1)}

    def connect(self) -> SocketTransport:
        """Connect."""
        return SocketTransport(self.next_address())

    def next_address(self) -> tuple[str, int]:
        """Wait until the session before has ended: a client that comes back faster may meet its own lock."""
        earlier = next(self._connections)
        for _ in self._server.until("the session before to end"):
            if self._server.count_in_log(" session-ended ") == earlier:
                break
        return self._server.addresses[0]

    def _start(self, policy: Policy) -> None:
        """Start anew with other settings; the log says more than usual, to tell when a session has ended."""
        self._server.stop()
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in pop3_table(policy).items()]
        others = '[log]\nlevel = "debug"\n[abuse]\nmax_wrong_passwords = 0\n'  # some transcripts try very many
        self._site.configure(more="[pop3]\n" + "".join(lines) + others)
        self._server.start()
        self._policy = policy


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Yield a running site."""
    with MailSite({}) as made:
        yield Site(made)


def pop3_table(policy: Policy) -> dict[str, object]:
    """Return the settings that lead to a policy."""
    values = {name: getattr(policy, name) for name in IN_POP3}
    values["show_implementation"] = values.pop("implementation_shown")
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def is_playable(transcript: Transcript) -> bool:
    """Tell whether a site can be set so, an mbox can hold the messages, and nothing has to fail."""
    messages = [message for user in transcript.users for message in user.messages]
    others = {field.name for field in fields(Policy)}.difference(IN_POP3)
    if any(getattr(transcript.policy, name) != getattr(Policy(), name) for name in others):
        return False
    try:
        Pop3Settings.model_validate(pop3_table(transcript.policy))
    except ValidationError:
        return False
    usual = Policy()
    if transcript.mechanisms != MECHANISMS or any(
        getattr(transcript.policy, name) != getattr(usual, name) for name in ELSEWHERE
    ):
        return False
    return not transcript.failures and all(
        message and not message.endswith(b"\r") and b"\nFrom " not in b"\n" + message for message in messages
    )


def with_uids(transcript: Transcript, uids: Mapping[bytes, bytes]) -> Transcript:
    """Put the store's unique-ids into the replies to UIDL."""
    steps: list[Step] = []
    for step, command in answered(transcript.steps):
        if isinstance(step, ServerSays) and command.startswith(b"UIDL") and not step.is_beginning:
            start, blank, uid = step.octets.rpartition(b" ")
            steps.append(replace(step, octets=start + blank + uids.get(uid, uid)))
        else:
            steps.append(step)
    return replace(transcript, steps=tuple(steps))


def answered(steps: Iterable[Step]) -> Iterator[tuple[Step, bytes]]:
    """Yield each step, and with a line of the server the command that it answers; an empty one for the greeting."""
    waiting, command, has_more = deque([b""]), b"", False
    for step in steps:
        if isinstance(step, ClientReconnects):
            waiting, has_more = deque([b""]), False
        elif isinstance(step, ClientSays):
            waiting += [line.strip().upper() for line in step.octets.split(b"\n")[:-1]]
        elif isinstance(step, ServerSays):
            if not has_more:
                command = waiting.popleft()
                is_list = command in {b"CAPA", b"LANG", b"LIST", b"UIDL"} or command.startswith((b"RETR ", b"TOP "))
                has_more = is_list and step.octets.startswith(b"+OK")
            elif step.octets == b".":
                has_more = False
        yield step, command


PLAYED = [path for path in PATHS if is_playable(read_transcript(path))]


@pytest.mark.parametrize("path", PLAYED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_real_server_answers_as_the_transcript_says(site: Site, path: Path) -> None:
    """What holds for the engine holds for the server as it is installed (P-014, P-094)."""
    transcript = read_transcript(path)
    site.prepare(transcript)
    if any(isinstance(step, ClientSays) and b"UIDL" in step.octets for step in transcript.steps):
        transcript = with_uids(transcript, site.uids(transcript))

    play(transcript, site.connect)


@pytest.mark.checkout
def test_the_example_of_the_document_works(site: Site) -> None:
    """Whoever copies it from docs/rfc.md plays a transcript against a server."""
    document = (HERE.parents[1] / "docs" / "rfc.md").read_text("utf-8")
    example = document.split("```python\n")[1].split("```")[0]
    transcript = read_transcript(HERE.parent / "conformance" / "rfc1939" / "greeting.txt")
    assert "rfc1939/greeting.txt" in example
    site.prepare(transcript)
    host, port = site.next_address()
    example = example.replace("1110", str(port)).replace("127.0.0.1", host)
    example = example.replace('"tests/', f'"{HERE.parent}/')

    exec(compile(example, "docs/rfc.md", "exec"), {})  # noqa: S102 - running the documentation is the point


def test_most_transcripts_are_played() -> None:
    """Those left out are the exception."""
    assert len(PLAYED) >= LEAST_PLAYED
