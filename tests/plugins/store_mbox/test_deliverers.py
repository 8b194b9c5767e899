"""Real delivery agents append to a spool while sessions read, remove and quit: nothing lost, doubled or mixed.

The agents run in a mount namespace in which ``/var/mail`` is the spool directory of the test, ``/var/spool/dma`` a
folder of the test, and alice a user: each delivers in its usual way, to the usual place, with its own locks, and
nothing of the machine is changed. Sessions never wait for an agent; some agents wait for each other, see ``APART``.
"""

from __future__ import annotations

import os
import poplib
import pwd
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from popframe.testing.site import RUN_AS, MailSite

LONG = os.environ.get("POPFRAME_LONG") == "1"

EACH = 12
"""Messages that an agent delivers alone: two of each kind."""

EACH_TOGETHER = 6
"""Messages that each agent delivers beside the others, which make it wait a second now and then: one of each kind."""

ROUNDS = 10 if LONG else 1
"""How often all agents deliver together."""

APART = (
    ("procmail", "mailutils-mda"),
    ("procmail", "dma"),
    ("maildrop", "dma"),
    ("mailutils-mda", "dma"),
    ("dovecot-core", "dma"),
)
"""Packages whose agents are not run at the same time, because they spoil each other's mail without any server.

dma takes only flock, which the others do not take: their messages mix, in every run with procmail. mailutils' mda puts
a new file in the place of the spool, and procmail creates one when it finds none: of 40 messages, one or two were lost
and others damaged in seven of eight runs in which nothing but these two ran.
"""

PATIENCE_SECONDS = 100.0
"""How long the mail may take to come through; an agent that finds a lock waits for a whole second."""

THINKING_SECONDS = 0.08
"""How long a client waits after login and before QUIT, so that agents deliver in the middle of its session."""

PAUSE_SECONDS = 0.005
"""How long somebody waits who was told to come again."""

TEMPORARY = frozenset({69, 75})
"""Exit statuses of an agent that has delivered nothing and wants to be asked again: of mda, and of everybody."""

FROM_LINE = b"From bob Mon Jan  5 09:00:00 2026\n"

MICROSECONDS_PER_RENAME = 200_000
"""How long mda is held at each rename; it has four of them."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can deliver to another user")

_ADDED = re.compile(
    rb"^(?:Received|Status|X-Status|X-UID|X-IMAP|X-IMAPbase|X-Keywords|Content-Length):[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.MULTILINE,
)
"""Fields that the agents add, those of dovecot and mda to each other's mail as well."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A program that delivers the message on its standard input to alice.

    Attributes:
        package: Its Debian package.
        command: How it is called; the folder of the host stands for ``{}``.
        quoted: What it makes of a From_ line in a message.
    """

    package: str
    command: tuple[str, ...]
    quoted: bytes = b">" + FROM_LINE

    def is_there(self) -> bool:
        """Tell whether it is installed."""
        return shutil.which(self.command[0]) is not None


AGENTS = {
    "procmail": Agent("procmail", ("procmail", "-t", "-Y", "-d", "alice")),
    "maildrop": Agent("maildrop", ("maildrop", "-d", "alice")),
    "mda": Agent("mailutils-mda", ("/usr/sbin/mda", "alice")),
    "dovecot-lda": Agent("dovecot-core", ("/usr/lib/dovecot/dovecot-lda", "-c", "{}/dovecot.conf"), quoted=FROM_LINE),
    "dma": Agent("dma", ("/usr/sbin/dma", "-D", "-i", "-f", "alice", "alice")),
}

_DOVECOT_2_3 = """\
mail_location = mbox:~/imap:INBOX=/var/mail/%u
mbox_write_locks = dotlock fcntl
first_valid_uid = 1
log_path = /dev/stderr
protocols =
"""

_DOVECOT_2_4 = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
mail_driver = mbox
mail_path = ~/imap
mail_inbox_path = /var/mail/%{user}
first_valid_uid = 1
log_path = /dev/stderr
"""
"""It takes the dot-lock first without being told."""

_FILES = {
    "etc/dma/dma.conf": "MAILNAME example.org\n",
    "home/.procmailrc": "LOCKSLEEP=0\n",
    "home/.mailfilter": "LOCKSLEEP=0\n",
}

_ENTER = """\
set -e
mount --bind "$1/mail" /var/mail
[ ! -d /var/spool/dma ] || mount --bind "$2/queue" /var/spool/dma
mkdir "$2/machine-etc"
mount --bind /etc "$2/machine-etc"
for path in /etc/*; do
    name=${path#/etc/}
    [ -e "$2/etc/$name" ] || ln -s "$2/machine-etc/$name" "$2/etc/$name"
done
mount --bind "$2/etc" /etc
echo ready
exec cat
"""
"""Arguments: the folder of a site and that of a host.

All of /etc is replaced, by links to what it holds: the kernel takes the mount away from a single file as soon as
somebody renames another one to its name, as useradd does with /etc/passwd whenever it is called.
"""


def _dovecot_configuration() -> str:
    """Return what the installed version of Dovecot understands."""
    dovecot = shutil.which("dovecot", path="/usr/sbin")
    version = subprocess.run([dovecot, "--version"], capture_output=True, text=True).stdout if dovecot else ""
    return _DOVECOT_2_4 if version.startswith("2.4.") else _DOVECOT_2_3


class Host:
    """A machine of its own, as far as delivery goes: alice's mail is in the folder of a site.

    Attributes:
        folder: What belongs to it, apart from the spools.
    """

    def __init__(self, site: MailSite, folder: Path) -> None:
        """Make the files.

        Args:
            site: Whose spools are in ``/var/mail``.
            folder: An empty folder that every user can enter.
        """
        self.folder = folder
        self._site = site
        self._owner = pwd.getpwnam(RUN_AS)
        self._turns = {pair: threading.Lock() for pair in APART}
        for name in ("queue", "etc/dma", "home"):
            (folder / name).mkdir(parents=True)
        for name, text in {**_FILES, "dovecot.conf": _dovecot_configuration()}.items():
            (folder / name).write_text(text)
        alice = f"alice:x:{self._owner.pw_uid}:{self._owner.pw_gid}::{folder}/home:/bin/sh\n"
        (folder / "etc" / "passwd").write_text(alice + Path("/etc/passwd").read_text())
        for path in ((folder / "home"), *(folder / "home").iterdir()):
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
            path.chmod(0o700 if path.is_dir() else 0o600)
        for path, owner in ((site.spool("alice").parent, RUN_AS), (folder / "queue", "root")):
            shutil.chown(path, owner, "mail")
            path.chmod(0o2775)

    def __enter__(self) -> Self:
        """Open the namespace."""
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh"]
        self._holder = subprocess.Popen(
            [*command, str(self._site.directory), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            pytest.skip(f"root may not mount here: {self._holder.communicate()[1].decode().strip()}")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the namespace go, and with it everything that is mounted there."""
        self._holder.communicate()

    def deliver(self, agent: Agent, message: bytes) -> None:
        """Deliver a message, asking again as long as the agent wishes it.

        Raises:
            AssertionError: It was refused.
        """
        command = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", *self._identity(agent)]
        command += [word.format(self.folder) for word in agent.command]
        environment = {"PATH": os.environ["PATH"], "USER": "alice", "HOME": f"{self.folder}/home"}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with self._turn(agent):
                done = subprocess.run(
                    command, input=message, env=environment, capture_output=True, check=False, timeout=PATIENCE_SECONDS
                )
            if done.returncode not in TEMPORARY:
                break
            time.sleep(PAUSE_SECONDS)
        time.sleep(PAUSE_SECONDS)  # those who wait for their turn get it
        assert done.returncode == 0, (agent.package, done)

    def undelivered(self) -> list[str]:
        """Return what dma has kept, or bounced."""
        return [path.name for path in (self.folder / "queue").iterdir() if path.name[0] in "MQ"]

    def _identity(self, agent: Agent) -> list[str]:
        """Return what makes dovecot's agent run as alice; the others are started by root and see to it themselves."""
        if agent.package != "dovecot-core":
            return []
        return ["setpriv", f"--reuid={self._owner.pw_uid}", f"--regid={self._owner.pw_gid}", "--clear-groups"]

    def _turn(self, agent: Agent) -> ExitStack:
        """Wait until no agent runs that this one has to be kept apart from; at the end of the context they may."""
        with ExitStack() as waiting:
            for pair, turn in self._turns.items():
                if agent.package in pair:
                    waiting.enter_context(turn)
            return waiting.pop_all()


# --- messages ---


def message(name: str, number: int) -> bytes:
    """Return a message that cannot be taken for another; six kinds, one after the other."""
    line = f"{name} {number}: the quick brown fox\n".encode()
    bodies = (
        line,
        line + b".\n..\n.\n" + line,
        line + "Grüße, ".encode() + "Grüße\n".encode("latin-1") + line,
        line + b"no line end",
        line + FROM_LINE + line,
        line * (50_000 // len(line)),
    )
    subject = f"{name}-{number:03}"
    header = (
        "From: bob@example.org\nTo: alice@example.org\nDate: Mon, 5 Jan 2026 09:00:00 +0000\n"
        f"Message-ID: <{subject}@example.org>\nSubject: {subject}\n\n"
    )
    return header.encode() + bodies[number % len(bodies)]


def name_of(text: bytes) -> str:
    """Return the subject of a message."""
    found = re.search(rb"^Subject: (.*)$", text, re.MULTILINE)
    return found[1].decode() if found else repr(text[:80])


def without_additions(text: bytes) -> bytes:
    """Return a message without the fields that agents add, and without the line ends at its end."""
    header, separator, body = text.partition(b"\n\n")
    return _ADDED.sub(b"", header + b"\n") + separator[1:] + body.rstrip(b"\n")


# --- sessions ---


def session(address: tuple[str, int], turn: int) -> tuple[int, list[bytes]]:
    """Read messages and remove them.

    Args:
        address: Where the server is.
        turn: Every second session takes its time, three of four leave messages between others; turn 0 does neither.

    Returns:
        How many messages there were, and those that were read and, as QUIT said, removed. A session that failed in
        the middle has removed nothing (RFC 1939 section 6).
    """
    taken: list[bytes] = []
    client = poplib.POP3(*address, timeout=PATIENCE_SECONDS)
    try:
        client.user("alice")
        client.pass_("secret")
        count = client.stat()[0]
        pause = turn % 2 * THINKING_SECONDS
        time.sleep(pause)
        for number in range(1, count + 1):
            if (turn + number) % 4 < turn % 4:
                continue
            with suppress(poplib.error_proto):  # it is not where it was: for the next session
                lines = client.retr(number)[1]
                client.dele(number)
                taken.append(b"\n".join(lines) + b"\n")
        time.sleep(pause)
        client.quit()
    except (poplib.error_proto, OSError):
        return -1, []
    finally:
        client.close()
    return count, taken


def read_everything(address: tuple[str, int], delivered: threading.Event, turn: int) -> list[bytes]:
    """Hold one session after another until nothing is left and nothing more comes."""
    taken: list[bytes] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        is_last = delivered.is_set()
        turn = 0 if is_last else turn + 1
        count, messages = session(address, turn)
        taken += messages
        if is_last and count == 0:
            return taken
        time.sleep(PAUSE_SECONDS)
    raise AssertionError(f"mail is left after {PATIENCE_SECONDS} s: {[name_of(text) for text in taken]} was read")


def deliver_and_read(host: Host, names: list[str], address: tuple[str, int]) -> tuple[dict[str, bytes], list[bytes]]:
    """Let agents deliver, all at once, while two clients read.

    Returns:
        What was delivered, as it should arrive, by name; and what was read.
    """
    delivered = threading.Event()

    def deliver_all(name: str) -> dict[str, bytes]:
        sent = {}
        for number in range(EACH if len(names) == 1 else EACH_TOGETHER):
            text = message(name, number)
            if FROM_LINE in text and AGENTS[name].quoted == FROM_LINE and "dma" in names:
                continue  # dovecot does not quote it, and takes it for a new message itself once dma has delivered
            host.deliver(AGENTS[name], text)
            sent[name_of(text)] = without_additions(text.replace(FROM_LINE, AGENTS[name].quoted))
        return sent

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read_everything, address, delivered, turn) for turn in (0, 1)]
        deliverers = [pool.submit(deliver_all, name) for name in names]
        try:
            sent = {name: text for deliverer in deliverers for name, text in deliverer.result().items()}
        finally:
            delivered.set()
        return sent, [text for reader in readers for text in reader.result()]


@pytest.fixture
def site() -> Iterator[MailSite]:
    """Yield a site where alice has the password ``secret``."""
    with MailSite({"alice": "secret"}) as made:
        yield made


@pytest.fixture
def host(site: MailSite) -> Iterator[Host]:
    """Yield the machine where mail for the site arrives."""
    folder = site.directory / "host"
    folder.mkdir(mode=0o755)
    with Host(site, folder) as made:
        yield made


def skip_without(*names: str) -> None:
    """Skip a test where one of its agents is not installed."""
    missing = [AGENTS[name].package for name in names if not AGENTS[name].is_there()]
    if missing:
        pytest.skip(f"needs the Debian packages {' '.join(missing)}")


@pytest.mark.timeout(240)
@needs_root
@pytest.mark.parametrize(
    ("names", "settings"),
    [pytest.param([name], "", id=name) for name in AGENTS]
    + [pytest.param(list(AGENTS), "", id=f"all-{number}") for number in range(ROUNDS)]
    + [pytest.param(list(AGENTS), "private_copy = true", id="all, into private copies")]
    + [pytest.param(list(AGENTS), 'status_headers = "popper"', id="all, stamped")],
)
def test_mail_that_agents_deliver_is_read_exactly_once(
    site: MailSite, request: pytest.FixtureRequest, names: list[str], settings: str
) -> None:
    """Also what arrives in the middle of a session: every message, as its agent stores it (RFC 1939 sections 6, 8)."""
    skip_without(*names)
    site.configure(more=settings)
    host: Host = request.getfixturevalue("host")  # made last: it has files of other owners
    server = site.start()
    sent, read = deliver_and_read(host, names, server.addresses[0])

    assert Counter(map(name_of, read)) == Counter(list(sent))
    assert [name_of(text) for text in read if without_additions(text) != sent[name_of(text)]] == []
    assert host.undelivered() == []
    assert list(site.spool("alice").parent.glob("*.lock")) == []


# --- what an agent does in the middle of a session ---


@needs_root
def test_a_message_that_dovecot_moves_is_sent_whole_or_not(site: MailSite, host: Host) -> None:
    """Its agent adds fields to mail that has none of its own, in place: what follows the header moves (H-079)."""
    skip_without("dovecot-lda")
    text = b"Subject: one\n\n" + b"a line of 26 octets ......\n" * 20
    site.put("alice", [text])
    client = site.connect(site.start(), "alice")
    host.deliver(AGENTS["dovecot-lda"], message("dovecot-lda", 0))
    reply = client.ask("RETR 1")
    sent = b""
    with suppress(EOFError):  # closed without the final dot: not sent, as far as the client knows
        sent = client.body() if reply.startswith(b"+OK") else b""

    assert b"X-IMAPbase: " in site.spool("alice").read_bytes()
    assert not sent or without_additions(sent.replace(b"\r\n", b"\n")) == without_additions(text)


@contextmanager
def while_mda_replaces_the_spool(site: MailSite, host: Host) -> Iterator[None]:
    """Let mda deliver and hold it between its two renames, when there is no spool, as the block begins.

    It has the dot-lock all the time.
    """
    skip_without("mda")
    if shutil.which("strace") is None:
        pytest.skip("needs strace (Debian: apt-get install strace)")
    slowly = ("strace", "-qq", "-o", "/dev/null", "-e", f"inject=rename:delay_exit={MICROSECONDS_PER_RENAME}")
    mda = replace(AGENTS["mda"], command=(*slowly, *AGENTS["mda"].command))
    with ThreadPoolExecutor() as pool:
        delivery = pool.submit(host.deliver, mda, message("mda", 0))
        while site.spool("alice").exists():
            assert not delivery.done(), "mda did not replace the spool"
        yield
        delivery.result()


@needs_root
def test_what_quit_says_is_true_while_mda_replaces_the_spool(site: MailSite, host: Host) -> None:
    """A spool that is not there for a moment is not one from which the messages are gone (P-073)."""
    site.put("alice", [b"Subject: one\n\nhello\n"])
    client = site.connect(site.start(), "alice")
    client.ask("DELE 1")
    with while_mda_replaces_the_spool(site, host):
        reply = client.ask("QUIT")

    assert reply.startswith(b"-ERR") == (b"Subject: one\n" in site.spool("alice").read_bytes())


@needs_root
def test_no_login_finds_an_empty_maildrop_while_mda_replaces_the_spool(site: MailSite, host: Host) -> None:
    """A client that is told that everything is gone forgets what it has read, and fetches it again."""
    site.put("alice", [b"Subject: one\n\nhello\n"])
    server = site.start()
    client = site.connect(server)
    with while_mda_replaces_the_spool(site, host):
        reply = client.log_in("alice", "secret")
        listed = client.ask("STAT")

    assert not reply.startswith(b"+OK") or not listed.startswith(b"+OK 0 ")
