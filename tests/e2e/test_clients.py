"""Standard clients fetch and delete real mail from an mbox over real sockets."""

from __future__ import annotations

import fcntl
import os
import poplib
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

MESSAGES = [b"Subject: one\n\nhello\n", b"Subject: two\n\n.\n..\n.dot\nend", b"Subject: three\n\nbye\n"]

LIST_MBOX = Path(__file__).parents[3] / "shared" / "mail" / "list.mbox"
"""53 messages of a mailing list, where the machine has them."""

FROM_LINE = re.compile(rb"^From MAILER-DAEMON .*\n", re.MULTILINE)


def login(server: ServerProcess) -> poplib.POP3:
    """Return a client that is logged in as alice."""
    client = poplib.POP3(*server.addresses[0], timeout=30)
    client.user("alice")
    client.pass_("secret")
    return client


def curl(server: ServerProcess, path: str, *options: str) -> bytes:
    """Run curl as alice and return what it wrote."""
    host, port = server.addresses[0]
    url = f"pop3://{host}:{port}/{path}"
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--user", "alice:secret", *options, url]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_poplib_reads_deletes_and_finds_the_rest_again(site: MailSite) -> None:
    """What poplib deletes is gone after QUIT; the rest keeps its unique-ids (RFC 1939 sections 6 and 7)."""
    site.put("alice", MESSAGES)
    server = site.start()
    first = login(server)
    uids = [line.split()[1] for line in first.uidl()[1]]
    assert first.retr(2)[1] == [b"Subject: two", b"", b".", b"..", b".dot", b"end"]
    first.dele(2)
    first.quit()

    second = login(server)
    assert [line.split()[1] for line in second.uidl()[1]] == [uids[0], uids[2]]
    second.quit()


def test_a_dropped_connection_deletes_nothing(site: MailSite) -> None:
    """Without QUIT there is no UPDATE state, and the maildrop is free again at once (RFC 1939 section 6, P-030)."""
    site.put("alice", MESSAGES)
    server = site.start()
    dropped = login(server)
    for number in (1, 2, 3):
        dropped.dele(number)
    dropped.close()
    server.wait_for_log("outcome=disconnected")

    assert site.connect(server, "alice").ask("STAT").startswith(b"+OK 3 ")


def test_a_second_login_is_told_in_use_until_the_first_has_quit(site: MailSite) -> None:
    """One session holds the maildrop; the other may try again on the same connection (P-079 to P-081)."""
    site.put("alice", MESSAGES)
    server = site.start()
    first = site.connect(server, "alice")
    second = site.connect(server)
    assert second.log_in("alice", "secret").startswith(b"-ERR [IN-USE] ")
    first.ask("QUIT")

    assert second.log_in("alice", "secret").startswith(b"+OK")


def test_in_use_is_not_told_to_a_wrong_password(site: MailSite) -> None:
    """The state of a maildrop is nobody's business without the password (P-080)."""
    server = site.start()
    site.connect(server, "alice")
    stranger = site.connect(server)

    assert stranger.log_in("alice", "guess").startswith(b"-ERR [AUTH] ")


def test_two_hundred_logins_in_a_row_never_meet_their_own_lock(site: MailSite) -> None:
    """The lock is gone when the reply to QUIT arrives, and nobody comes back too soon (P-076, Q-041)."""
    site.put("alice", MESSAGES)
    server = site.start()

    for _ in range(200):
        login(server).quit()


def test_a_removal_is_on_disk_when_quit_is_answered(site: MailSite) -> None:
    """A machine that dies right after the answer has lost nothing of it (P-075)."""
    site.put("alice", MESSAGES)
    server = site.start()
    client = login(server)
    client.dele(1)
    client.quit()
    server.kill()

    assert site.spool("alice").read_bytes().count(b"Subject: ") == 2
    assert b"Subject: one" not in site.spool("alice").read_bytes()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl (Debian: apt-get install curl)")
@pytest.mark.checkout
@pytest.mark.skipif(not LIST_MBOX.exists(), reason="needs shared/mail/list.mbox beside the checkout")
def test_curl_fetches_and_deletes_a_real_mailing_list(site: MailSite) -> None:
    """All 53 messages arrive octet for octet; deleted over POP3, only mail that came meanwhile is left."""
    source = LIST_MBOX.read_bytes()
    messages = [part.removesuffix(b"\n") for part in FROM_LINE.split(source)[1:]]
    site.spool("alice").write_bytes(source)
    site.hand_over()
    server = site.start()
    listing = curl(server, "").decode().split()

    assert [int(octets) for octets in listing[1::2]] == [len(m.replace(b"\n", b"\r\n")) for m in messages]
    assert len(messages) == 53
    for number, message in enumerate(messages, 1):
        assert curl(server, str(number)) == message.replace(b"\n", b"\r\n")
    newcomer = b"From late@example.org Mon Jan  5 10:00:00 2026\nSubject: late\n\nstill here\n\n"
    client = login(server)
    for number in range(1, 54):
        client.dele(number)
    append_under_locks(site.spool("alice"), newcomer)
    client.quit()

    assert site.spool("alice").read_bytes() == newcomer
    assert curl(server, "1") == b"Subject: late\r\n\r\nstill here\r\n"
    curl(server, "", "--request", "DELE 1", "--head")
    assert site.spool("alice").read_bytes() == b""


def append_under_locks(spool: Path, octets: bytes) -> None:
    """Deliver as a careful mail transfer agent does: dot-lock, then fcntl, then append."""
    dot_lock = spool.with_name(spool.name + ".lock")
    os.close(os.open(dot_lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        with spool.open("ab") as mbox:
            fcntl.lockf(mbox, fcntl.LOCK_EX)
            mbox.write(octets)
    finally:
        dot_lock.unlink()


def test_mail_that_arrives_during_sessions_is_never_lost_or_doubled(site: MailSite) -> None:
    """A deliverer appends in a loop while sessions read and delete in a loop; every message is read exactly once."""
    site.put("alice", [])
    server = site.start()
    subjects = [b"Subject: number-%04d" % number for number in range(60)]

    def deliver() -> None:
        for subject in subjects:
            message = b"From deliverer@example.org Mon Jan  5 10:00:00 2026\n" + subject + b"\n\nbody\n\n"
            while True:
                try:
                    append_under_locks(site.spool("alice"), message)
                    break
                except FileExistsError:
                    continue  # the server is writing

    deliverer = threading.Thread(target=deliver)
    deliverer.start()
    seen: list[bytes] = []
    while len(seen) < len(subjects):
        client = login(server)
        count = client.stat()[0]
        for number in range(1, count + 1):
            seen.append(client.retr(number)[1][0])
            client.dele(number)
        client.quit()
        if not deliverer.is_alive() and not count:
            break
    deliverer.join()

    assert sorted(seen) == subjects


@pytest.mark.parametrize(
    "name", ["../bob", "/etc/passwd", ".", "..", "$(id)", "%s", "bob/", "~bob", "-rf", "alice\x7f"]
)
def test_a_hostile_user_name_is_an_unknown_user(site: MailSite, name: str) -> None:
    """No name leads anywhere but to the users of the file (H-010, H-011)."""
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        assert client.log_in(name, "secret").startswith(b"-ERR")


def test_no_password_is_ever_in_the_log(site: MailSite) -> None:
    """Right, wrong, or sent to the wrong command: the log does not have it (I-6)."""
    site.configure(more='[log]\nlevel = "debug"')
    server = site.start()
    with RawClient(server.addresses[0]) as client:
        for command in ("USER alice", "PASS hunter2-canary", "PASS hunter2-canary", "APOP alice hunter2-canary"):
            client.ask(command)
        client.log_in("alice", "secret")
        client.ask("QUIT")
    server.wait_for_log("outcome=quit")

    assert "canary" not in server.log()
    assert "secret" not in server.log()
