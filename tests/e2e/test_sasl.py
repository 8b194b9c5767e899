"""SASL between a real server and real clients: curl, mpop, and one that does what a test says."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

from .inetd_room import started
from .sasl_client import PASSWORD, capabilities, coded, keys, plain, scram
from .tls_site import HOST, TlsSite

MESSAGE = b"Subject: hello\n\nHow are you?\n"
TICKETS = Path(__file__).parents[2] / "docs" / "plugins.md"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl (Debian: apt-get install curl)")
needs_mpop = pytest.mark.skipif(shutil.which("mpop") is None, reason="needs mpop (Debian: apt-get install mpop)")


@pytest.fixture
def scram_site(site: MailSite) -> MailSite:
    """Return a site whose users all have what SCRAM needs, and a message for alice."""
    site.put("alice", [MESSAGE])
    users(site, f"alice::{keys()}", f"bob::{keys()}")
    return site


def users(site: MailSite, *lines: str) -> None:
    """Write the password file."""
    path = site.directory / "users"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    site.hand_over()


def after_reload(site: MailSite, server: ServerProcess) -> RawClient:
    """Reload, and return a client of a new front, once the old ones have ended."""
    before = set(server.fronts())
    server.reload()
    for _ in server.until("the old fronts to end"):
        if not before & set(server.fronts()):
            break
    return site.connect(server)


def login_line(server: ServerProcess, event: str = "login") -> str:
    """Return the last line of an event."""
    server.wait_for_log(f" {event} ")
    return [line for line in server.log().splitlines() if f": {event} " in line][-1]


# --- curl


@needs_curl
@pytest.mark.parametrize("options", [(), ("--sasl-ir",)], ids=["asked", "initial response"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_curl_logs_in(site: MailSite, mechanism: str, options: tuple[str, ...]) -> None:
    """A-024, A-037, A-048, C-014: with and without an initial response."""
    site.put("alice", [MESSAGE])
    server = site.start()
    host, port = server.addresses[0]
    curl = ["curl", "--silent", "--show-error", "--max-time", "30", "--user", "alice:secret", *options]
    url = f"pop3://{host}:{port}/1"
    result = subprocess.run([*curl, "--login-options", f"AUTH={mechanism}", url], check=True, capture_output=True)

    assert result.stdout.replace(b"\r\n", b"\n") == MESSAGE
    assert f" user=alice tls=no mechanism={mechanism}" in login_line(server)
    assert PASSWORD not in server.log()
    assert plain("alice") not in server.log()


@needs_curl
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "*"])
def test_curl_logs_in_under_tls(site: MailSite, mechanism: str) -> None:
    """A-037: by whichever it finds."""
    tls = TlsSite(site)
    tls.configure()
    site.put("alice", [MESSAGE])
    tls.authority.cert_pem.write_to_path(str(site.directory / "ca.pem"))
    server = site.start()
    url = f"pop3s://{HOST}:{server.tls_addresses[0][1]}/1"
    curl = ["curl", "--silent", "--show-error", "--max-time", "30", "--user", "alice:secret"]
    trust = ["--cacert", str(site.directory / "ca.pem"), "--login-options", f"AUTH={mechanism}"]
    result = subprocess.run([*curl, *trust, url], check=True, capture_output=True)

    assert result.stdout.replace(b"\r\n", b"\n") == MESSAGE
    assert re.search(r" user=alice tls=TLSv1\.3/\S+ mechanism=(PLAIN|LOGIN)", login_line(server))


# --- mpop


def mpop(
    site: MailSite, port: int, auth: str, *more: str, password: str = PASSWORD
) -> subprocess.CompletedProcess[str]:
    """Fetch alice's mail into a file."""
    home = site.directory / "mpop"
    home.mkdir(exist_ok=True)
    lines = [
        *("account default", f"host {HOST}", f"port {port}", "user alice", f"auth {auth}", "keep on"),
        *(f"password {password}", f"delivery mbox {home}/inbox", f"uidls_file {home}/uidls", "timeout 30", *more),
    ]
    (home / "rc").write_text("\n".join(lines) + "\n")
    (home / "rc").chmod(0o600)
    command = ["mpop", "--file", str(home / "rc"), "--debug"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(home)})


@needs_mpop
@pytest.mark.parametrize(
    ("auth", "mechanism"),
    [
        ("plain", "PLAIN"),
        ("login", "LOGIN"),
        ("scram-sha-1", "SCRAM-SHA-1"),
        ("scram-sha-256", "SCRAM-SHA-256"),
        ("cram-md5", "CRAM-MD5"),
        ("apop", "APOP"),
        ("user", "PASS"),
    ],
)
def test_mpop_logs_in(scram_site: MailSite, auth: str, mechanism: str) -> None:
    """A-012, A-014, A-051, A-054, A-065: GNU SASL is another implementation of each."""
    mechanisms = '["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]'
    scram_site.configure(more=f"[login]\napop = true\nmechanisms = {mechanisms}\n")
    users(scram_site, f"alice:{{PLAIN}}{PASSWORD}:{keys()}")
    server = scram_site.start()
    port = server.addresses[0][1]
    result = mpop(scram_site, port, auth, "tls off")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "Subject: hello" in (scram_site.directory / "mpop" / "inbox").read_text()
    assert f" user=alice tls=no mechanism={mechanism}" in login_line(server)

    result = mpop(scram_site, port, auth, "tls off", password="wrong")
    assert result.returncode != 0
    assert re.search(rf" user=alice code=AUTH reason=.* mechanism={mechanism}$", login_line(server, "login-failed"))


@needs_mpop
@pytest.mark.parametrize("auth", ["plain", "scram-sha-256", "external"])
def test_mpop_logs_in_under_tls(site: MailSite, auth: str) -> None:
    """A-025, A-059, A-079: a client without channel binding, and one with a certificate."""
    tls = TlsSite(site)
    tls.configure(tls='client_ca = "clients.pem"')
    users(site, f"alice::{keys()}")
    site.put("alice", [MESSAGE])
    tls.authority.cert_pem.write_to_path(str(site.directory / "ca.pem"))
    tls.client_authority.cert_pem.write_to_path(str(site.directory / "clients.pem"))
    issued = tls.client_authority.issue_cert("alice@example.org", common_name="alice")
    issued.private_key_pem.write_to_path(str(site.directory / "alice.key"))
    issued.cert_chain_pems[0].write_to_path(str(site.directory / "alice.pem"))
    site.hand_over()
    server = site.start()
    more = ["tls on", "tls_starttls off", f"tls_trust_file {site.directory}/ca.pem"]
    if auth == "external":
        more += [f"tls_key_file {site.directory}/alice.key", f"tls_cert_file {site.directory}/alice.pem"]
    result = mpop(site, server.tls_addresses[0][1], auth, *more)

    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(rf" user=alice tls=TLSv1\.3/\S+ mechanism={auth.upper()}", login_line(server))


# --- one that does what a test says


def test_scram_is_bound_to_the_certificate_of_the_server(site: MailSite) -> None:
    """A-061, A-067, A-070: the hash of the certificate that the client was shown; any other is refused."""
    tls = TlsSite(site)
    certificate = tls.renew()
    tls.configure()
    users(site, f"alice::{keys()}")
    server = site.start()
    binding = hashlib.sha256(certificate).digest()
    with tls.connect(server) as client:
        assert "SCRAM-SHA-256-PLUS" in capabilities(client)["SASL"]
        other = hashlib.sha256(b"another").digest()
        assert scram(client, "alice", name="SCRAM-SHA-256-PLUS", binding=other).startswith(b"-ERR [AUTH]")
        reply = client.ask("AUTH SCRAM-SHA-256 " + coded("y,,n=alice,r=x"))
        assert reply.startswith(b"-ERR [AUTH]")  # it says that it saw no -PLUS
        assert scram(client, "alice", name="SCRAM-SHA-256-PLUS", binding=binding).startswith(b"+OK")
    with RawClient(server.addresses[0]) as client:
        assert not any(name.endswith("-PLUS") for name in capabilities(client)["SASL"])
        assert client.ask("AUTH SCRAM-SHA-256-PLUS") == b"-ERR mechanism not available\r\n"


def test_a_certificate_logs_in_only_when_it_is_asked_to(site: MailSite) -> None:
    """A-079, A-080, A-081, T-015: EXTERNAL, and the user whom the plugin knows by that name."""
    tls = TlsSite(site)
    tls.configure(tls='client_ca = "clients.pem"')
    tls.client_authority.cert_pem.write_to_path(str(site.directory / "clients.pem"))
    site.hand_over()
    server = site.start()

    def context(name: str) -> ssl.SSLContext:
        made = tls.context()
        tls.client_authority.issue_cert(f"{name}@example.org", common_name=name).configure_cert(made)
        return made

    with tls.connect(server, context("alice")) as client:
        assert "EXTERNAL" in capabilities(client)["SASL"]
        assert client.ask("STAT").startswith(b"-ERR")
        assert client.ask("AUTH EXTERNAL " + coded("bob")).startswith(b"-ERR [AUTH]")
        assert client.ask("AUTH EXTERNAL =").startswith(b"+OK")
    with RawClient(server.addresses[0]) as client:
        client.start_tls(context("nobody"), HOST)
        assert client.ask("AUTH EXTERNAL =").startswith(b"-ERR [AUTH]")
    with tls.connect(server) as client:
        assert "EXTERNAL" not in capabilities(client)["SASL"]
        assert client.ask("AUTH EXTERNAL =") == b"-ERR mechanism not available\r\n"


def test_fronts_and_a_restart_give_strangers_the_same_salt(scram_site: MailSite) -> None:
    """A-056, A-057, H-046: as they give users theirs; nothing tells who exists."""
    if not Path("/etc/machine-id").exists():
        pytest.skip("this machine has no machine-id(5)")
    scram_site.configure("fronts = 2")
    salts: dict[str, set[bytes]] = {"alice": set(), "bob": set(), "nobody": set(), "stranger": set()}
    for _ in range(2):
        server = scram_site.start()
        for name in list(salts) * 6:
            with RawClient(server.addresses[0]) as client:
                reply = base64.b64decode(client.ask("AUTH SCRAM-SHA-256 " + coded(f"n,,n={name},r=x"))[2:])
                salts[name].add(re.sub(rb"^r=[^,]*,", b"", reply))
        server.stop()

    assert [len(answers) for answers in salts.values()] == [1, 1, 1, 1]
    assert len(set().union(*salts.values())) == 4
    assert {answer[-7:] for answers in salts.values() for answer in answers} == {b",i=4096"}


def test_a_long_token_passes_and_an_endless_one_ends(site: MailSite) -> None:
    """A-031, A-032, H-039: over a socket; the server stays as it was."""
    server = site.start()
    with site.connect(server) as client:
        assert client.ask("AUTH PLAIN " + "QUJD" * 12_000).startswith(b"-ERR [AUTH]")
        client.send(b"AUTH PLAIN\r\n")
        assert client.line() == b"+ \r\n"
        client.send(b"QUJD" * 20_000)
        client.send(b"\r\nUSER alice\r\n" * 100)
        assert client.line() == b"-ERR response too long\r\n"
        assert client.line() == b""
    server.wait_for_log("outcome=too-many-errors")
    assert "the session ended: too-many-errors" in login_line(server, "login-failed")


def test_a_client_that_stalls_in_an_exchange_is_timed_out(site: MailSite) -> None:
    """H-041: by the timer of all logins; the log has the attempt."""
    site.configure("login_timeout_seconds = 2")
    server = site.start()
    with site.connect(server) as client:
        client.ask("AUTH LOGIN")
        client.ask(coded("alice"))
        assert client.line() == b""
    server.wait_for_log("outcome=timed-out")
    assert "mechanism=LOGIN" in login_line(server, "login-failed")


def test_a_site_lists_its_mechanisms(scram_site: MailSite) -> None:
    """A-012, A-053, C-014: a reload changes them; a slip is told with its line."""
    server = scram_site.start()
    with scram_site.connect(server) as client:
        assert capabilities(client)["SASL"] == ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"]
        assert b"<" not in client.greeting
    scram_site.configure(more='[login]\nmechanisms = ["LOGIN"]\n')
    with after_reload(scram_site, server) as client:
        assert capabilities(client)["SASL"] == ["LOGIN"]
        assert client.ask("AUTH PLAIN") == b"-ERR mechanism not available\r\n"
    scram_site.configure(more="[login]\nmechanisms = []\n")
    with after_reload(scram_site, server) as client:
        assert "SASL" not in capabilities(client)
        assert client.ask("AUTH PLAIN") == b"-ERR unknown command\r\n"
    scram_site.configure(more='[login]\nmechanisms = [\n  "PLAIN",\n  "SCRAM-SHA256",\n]\n')
    server.reload()
    assert "there is no SASL mechanism 'SCRAM-SHA256'" in server.log()
    command = [sys.executable, "-m", "popframe", "check-config", str(scram_site.configuration)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert re.search(
        r"popframe\.toml:\d+: login\.mechanisms: there is no SASL mechanism", result.stderr + result.stdout
    )


def test_master_users_log_in_as_others(scram_site: MailSite) -> None:
    """A-044, A-064: by each way that has room for two names."""
    scram_site.configure(more='[login]\nmaster_users = ["bob"]\n')
    server = scram_site.start()
    with scram_site.connect(server) as client:
        assert client.ask("AUTH PLAIN " + plain("alice", authorization="bob")).startswith(b"-ERR [AUTH]")
        assert client.ask("AUTH PLAIN " + plain("bob", authorization="alice")).startswith(b"+OK maildrop has 1 ")
    assert " user=alice master=bob tls=no mechanism=PLAIN" in login_line(server)
    server.wait_for_log("outcome=disconnected")
    with scram_site.connect(server) as client:
        assert client.log_in("bob*alice", PASSWORD).startswith(b"+OK maildrop has 1 ")


# --- inetd


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "PLAIN"])
def test_an_exchange_under_inetd_is_traced_without_its_secrets(scram_site: MailSite, name: str) -> None:
    """I-6: the mechanism is shown; no response is, nor what was taken for a mechanism."""
    trace = scram_site.directory / "trace"
    with started(scram_site.configuration, "-t", str(trace)) as client:
        client.lines.readline()
        assert client.ask(f"AUTH {PASSWORD}").startswith(b"-ERR")
        first = client.ask(f"AUTH {name}")
        assert first == b"+ \r\n"
        if name == "PLAIN":
            assert client.ask(plain("alice")).startswith(b"+OK")
        else:
            assert client.ask(coded("n,,n=alice,r=abcdef")).startswith(b"+ ")
            assert client.ask("*").startswith(b"-ERR")
        client.ask("QUIT")
        client.end()
    text = trace.read_text()

    assert f'command="AUTH {name}" reply="+ ****"' in text
    assert 'command="AUTH ****"' in text
    assert " command=**** " in text
    for secret in (PASSWORD, plain("alice"), coded("n,,n=alice,r=abcdef")):
        assert secret not in text


def test_strangers_get_the_same_salt_from_the_next_process(scram_site: MailSite) -> None:
    """A-057: each client of inetd has a process that knows nothing of the one before."""
    if not Path("/etc/machine-id").exists():
        pytest.skip("this machine has no machine-id(5)")
    found = set()
    for _ in range(2):
        with started(scram_site.configuration) as client:
            client.lines.readline()
            reply = client.ask("AUTH SCRAM-SHA-256 " + coded("n,,n=nobody,r=x"))
            found.add(base64.b64decode(reply[2:]).split(b",s=")[1])

    assert len(found) == 1


# --- a plugin's mechanism


@pytest.mark.checkout
def test_the_mechanism_of_the_document_works(site: MailSite) -> None:
    """Whoever copies it from docs/plugins.md can log in by it, and nobody without its proof."""
    examples = re.findall(r"```python\n(.*?)```", TICKETS.read_text("utf-8"), re.DOTALL)
    (example,) = [text for text in examples if "popframe_register_mechanisms" in text]
    (site.directory / "tickets.py").write_text(example)
    site.configure(plugins=("./tickets.py", "auth_file", "store_mbox"))
    site.put("alice", [MESSAGE])
    server = site.start()
    hour = int(time.time()) // 3600
    with site.connect(server) as client:
        assert "X-TICKET" in capabilities(client)["SASL"]
        assert client.ask("AUTH X-TICKET " + coded("alice wrong")).startswith(b"-ERR [AUTH]")
        tickets = [hashlib.sha256(b"%d alice swordfish" % (hour + late)).hexdigest() for late in (0, 1)]
        replies = [client.ask("AUTH X-TICKET " + coded(f"alice {ticket}")) for ticket in tickets]
        assert any(reply.startswith(b"+OK maildrop has 1 ") for reply in replies)
    assert " user=alice tls=no mechanism=X-TICKET" in login_line(server)
