"""SASL where each user has a process: exchanges run behind the gate, and no secret is in a front."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from popframe.testing.client import RawClient

from .inetd_room import started
from .isolated_site import HASH, Site, children_of, status_of, until
from .sasl_client import PASSWORD, capabilities, coded, keys, plain, scram

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a server that becomes each user")

TICKETS = '''
import os

from popframe import AuthenticationFailed, Challenge, Proven, hookimpl


class Tickets:
    """A mechanism that tells where it runs, and takes its time for one name."""

    name = "X-TICKET"
    reveals_password = False
    needs_secret = ""

    @hookimpl
    def popframe_register_mechanisms(self):
        return [self]

    def suits(self, peer):
        return True

    def start(self, context):
        return self

    def respond(self, response):
        if response is None:
            return Challenge(b"%d %d" % (os.getpid(), os.geteuid()))
        if response == b"die":
            os.kill(os.getpid(), 9)
        if response == b"defect":
            raise ZeroDivisionError
        if response.startswith(b"long"):
            return Challenge(response * 2)
        return Proven(response.decode())
'''


class SaslIsolation:
    """A server with a process for each user, SASL, and TLS."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.authority, self.client_authority = trustme.CA(), trustme.CA()
        issued = self.authority.issue_cert("localhost", common_name="localhost")
        self.certificate = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        (folder / "server.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        (folder / "server.pem").chmod(0o600)
        (folder / "clients.pem").write_bytes(self.client_authority.cert_pem.bytes())
        tables = f'[tls]\ncertificate = "{folder}/server.pem"\nclient_ca = "{folder}/clients.pem"\n'
        tables += '[login]\nmaster_users = ["bob"]\napop = true\n'
        self.site = Site(folder, ["alice", "bob"], more=f'listen_tls = ["127.0.0.1:0"]\n{more}\n{tables}')
        (folder / "tickets.py").write_text(TICKETS)
        configuration = self.site.configuration.read_text()
        self.site.configuration.write_text(configuration.replace('["./probe.py", ', '["./probe.py", "./tickets.py", '))
        lines = [f"{name}:{HASH}:uid={uid} gid={uid} {keys()}\n" for name, uid in self.site.uids.items()]
        lines += [f"virtual:{HASH}:{keys()}\n", f"readable:{{PLAIN}}{PASSWORD}:uid=65500 gid=65500 {keys()}\n"]
        (folder / "users").write_text("".join(lines))
        (folder / "users").chmod(0o600)  # root's: no front can read it

    def connect_tls(self, certificate_of: str = "") -> RawClient:
        """Connect under TLS, with a certificate of a name or without one."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if certificate_of:
            issued = self.client_authority.issue_cert(f"{certificate_of}@example.org", common_name=certificate_of)
            issued.configure_cert(context)
        return RawClient(self.site.server.tls_addresses[0], tls=context, server_name="localhost")

    def children(self) -> list[int]:
        """Return the processes that the gate has started."""
        return children_of(self.site.gate())


@pytest.fixture
def isolated(folder: Path) -> Iterator[SaslIsolation]:
    """Return a running server."""
    made = SaslIsolation(folder)
    with made.site.server:
        yield made


def is_alices_process(isolated: SaslIsolation) -> bool:
    """Tell whether there is one process that is alice and nothing else, once one before it has ended."""
    until(lambda: len(isolated.site.processes_of("alice")) == 1, "one process")
    (pid,) = isolated.site.processes_of("alice")
    return status_of(pid)["Uid"].split() == [str(isolated.site.uids["alice"])] * 4


@pytest.mark.parametrize("way", ["PLAIN", "PLAIN asked", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "X-TICKET"])
def test_each_mechanism_leads_to_a_process_of_the_user(isolated: SaslIsolation, way: str) -> None:
    """A-024, A-036, A-048, A-054: the session is the user's; the log has the mechanism, and no secret."""
    with isolated.site.connect() as client:
        match way:
            case "PLAIN":
                reply = client.ask("AUTH PLAIN " + plain("alice"))
            case "PLAIN asked":
                assert client.ask("AUTH PLAIN") == b"+ \r\n"
                reply = client.ask(plain("alice"))
            case "LOGIN":
                client.ask("AUTH LOGIN")
                client.ask(coded("alice"))
                reply = client.ask(coded(PASSWORD))
            case "X-TICKET":
                assert client.ask("AUTH X-TICKET").startswith(b"+ ")
                reply = client.ask(coded("alice"))
            case _:
                reply = scram(client, "alice", name=way)
        assert reply.startswith(b"+OK maildrop has 2 "), reply
        assert is_alices_process(isolated)
        assert client.ask("XTRY root").startswith(b"-ERR")
        assert "SASL" in capabilities(client)
        assert client.ask("AUTH PLAIN " + plain("bob")) == b"-ERR command not valid in this state\r\n"
        client.ask("QUIT")
    isolated.site.server.wait_for_log("outcome=quit")
    log = isolated.site.server.log()

    assert f" user=alice tls=no mechanism={way.partition(' ')[0]}" in log
    assert not any(text in log for text in (PASSWORD, plain("alice"), coded(PASSWORD)))


def test_proofs_and_bindings_work_under_tls(isolated: SaslIsolation) -> None:
    """A-067, A-070, A-079: the front has the TLS; the process that runs the exchange knows of it what it needs."""
    binding = hashlib.sha256(isolated.certificate).digest()
    with isolated.connect_tls() as client:
        assert "EXTERNAL" not in capabilities(client)["SASL"]
        assert scram(client, "alice", name="SCRAM-SHA-256-PLUS", binding=b"x" * 32).startswith(b"-ERR [AUTH]")
        assert scram(client, "alice", name="SCRAM-SHA-256-PLUS", binding=binding).startswith(b"+OK maildrop has 2 ")
        assert is_alices_process(isolated)
    isolated.site.server.wait_for_log("outcome=disconnected")
    with isolated.connect_tls("alice") as client:
        assert client.ask("STAT").startswith(b"-ERR")
        assert client.ask("AUTH EXTERNAL " + coded("bob")).startswith(b"-ERR [AUTH]")
        assert client.ask("AUTH EXTERNAL =").startswith(b"+OK maildrop has 2 ")
        assert is_alices_process(isolated)


def test_a_digest_is_checked_behind_the_gate(isolated: SaslIsolation) -> None:
    """A-012, A-014, A-015: the front has the timestamp, and nothing to compare with."""
    isolated.site.uids["readable"] = 65500
    isolated.site.put("readable", 1)
    with isolated.site.connect() as client:
        stamp = client.greeting.split()[-1]
        digest = hashlib.md5(stamp + PASSWORD.encode(), usedforsecurity=False).hexdigest()
        assert client.ask("APOP readable " + "0" * 32).startswith(b"-ERR [AUTH]")
        assert client.ask("APOP alice " + digest).startswith(b"-ERR [AUTH]")
        assert client.ask(f"APOP readable {digest}").startswith(b"+OK maildrop has 1 ")
    assert re.search(r" user=alice code=AUTH reason=.* mechanism=APOP\n", isolated.site.server.log())


def test_a_master_user_gets_a_process_of_the_other(isolated: SaslIsolation) -> None:
    """A-044: and of nobody else."""
    with isolated.site.connect() as client:
        assert client.ask("AUTH PLAIN " + plain("alice", authorization="bob")).startswith(b"-ERR [AUTH]")
        assert client.ask("AUTH PLAIN " + plain("bob", authorization="alice")).startswith(b"+OK maildrop has 2 ")
        assert is_alices_process(isolated)
        assert not isolated.site.processes_of("bob")
    log = isolated.site.server.log()
    assert re.search(r" user=alice code=AUTH reason=.* mechanism=PLAIN as=bob\n", log)
    assert " user=alice master=bob tls=no mechanism=PLAIN" in log


def test_a_virtual_user_has_no_process(isolated: SaslIsolation) -> None:
    """Whatever was proven."""
    with isolated.site.connect() as client:
        assert scram(client, "virtual").startswith(b"-ERR [SYS/PERM]")
    told = r" user=virtual code=SYS/PERM reason=.* mechanism=SCRAM-SHA-256\n"
    assert re.search(told, isolated.site.server.log())


def test_failures_are_told_with_their_names(isolated: SaslIsolation) -> None:
    """A-027, A-033, A-057: the name comes back from behind the gate; the session goes on."""
    with isolated.site.connect() as client:
        assert scram(client, "alice", "wrong").startswith(b"-ERR [AUTH]")
        assert scram(client, "nobody").startswith(b"-ERR [AUTH]")
        client.ask("AUTH SCRAM-SHA-256 " + coded("n,,n=bob,r=x"))
        assert client.ask("*") == b"-ERR authentication cancelled\r\n"
        assert client.log_in("alice", PASSWORD).startswith(b"+OK")
    log = isolated.site.server.log()

    for name in ("alice", "nobody", "bob"):
        assert re.search(rf" user={name} code=AUTH reason=.* mechanism=SCRAM-SHA-256\n", log)


def test_an_exchange_runs_as_root_and_ends_with_the_client(isolated: SaslIsolation) -> None:
    """H-041: one process for each, gone when the client is, or when it wants no more."""
    with isolated.site.connect() as client:
        reply = client.ask("AUTH X-TICKET")
        (child,) = isolated.children()
        assert reply == b"+ " + coded(f"{child} 0").encode() + b"\r\n"
        client.ask("*")
        until(lambda: not isolated.children(), "the process to end")
        client.ask("AUTH SCRAM-SHA-256 " + coded("n,,n=alice,r=x"))
        assert len(isolated.children()) == 1
    until(lambda: not isolated.children(), "the process to end with its client")
    isolated.site.server.wait_for_log('reason="the session ended: disconnected"')


def test_a_client_that_stalls_holds_a_process_for_a_while(folder: Path) -> None:
    """H-041: for as long as a login may take, and no longer."""
    made = SaslIsolation(folder, "login_timeout_seconds = 2")
    with made.site.server, made.site.connect() as client:
        client.ask("AUTH LOGIN")
        assert len(made.children()) == 1
        assert client.line() == b""
        until(lambda: not made.children(), "the process to end")
        made.site.server.wait_for_log("outcome=timed-out")


@pytest.mark.parametrize(("response", "reason"), [("die", "has died"), ("defect", "mechanism X-TICKET failed")])
def test_a_mechanism_that_crashes_is_one_process(isolated: SaslIsolation, response: str, reason: str) -> None:
    """C-038: the client may try again, and nobody else has noticed."""
    with isolated.site.connect() as client, isolated.site.logged_in("bob") as bob:
        client.ask("AUTH X-TICKET")
        assert client.ask(coded(response)).startswith(b"-ERR [SYS/TEMP]")
        assert bob.ask("NOOP") == b"+OK done\r\n"
        assert client.ask("AUTH PLAIN " + plain("alice")).startswith(b"+OK")
    assert reason in isolated.site.server.log()


def test_long_messages_reach_the_mechanism_whole(isolated: SaslIsolation) -> None:
    """A-031, A-032: there and back."""
    message = "long" + "x" * 45_000
    with isolated.site.connect() as client:
        assert client.ask("AUTH X-TICKET " + coded(message)) == b"+ " + coded(message * 2).encode() + b"\r\n"
        assert client.ask(coded("alice")).startswith(b"+OK")


def test_an_exchange_under_inetd_has_a_process_too(folder: Path) -> None:
    """A-054: one client, with the same way through the gate."""
    made = SaslIsolation(folder)
    with started(made.site.configuration) as client:
        client.lines.readline()
        assert client.ask("AUTH PLAIN").startswith(b"+ ")
        assert client.ask(plain("alice")).startswith(b"+OK maildrop has 2 ")
        assert len(made.site.processes_of("alice")) == 1
        client.ask("QUIT")
        assert client.end() == 0
