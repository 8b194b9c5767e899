"""TLS between a real server and real clients (RFC 2595, RFC 8314, RFC 9325)."""

from __future__ import annotations

import contextlib
import poplib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import warnings

import pytest
from trustme import KeyType

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

from .inetd_room import free_port
from .tls_site import HOST, TlsSite

MESSAGE = b"Subject: hello\n\nHow are you?\n"
SENT = [b"Subject: hello", b"", b"How are you?"]


@pytest.fixture
def tls(site: MailSite) -> TlsSite:
    """Return a site with a certificate and a message for alice."""
    made = TlsSite(site)
    made.configure()
    site.put("alice", [MESSAGE])
    return made


def handshake(server: ServerProcess, context: ssl.SSLContext, *, by_stls: bool, name: str | None = HOST) -> RawClient:
    """Return a client under TLS, from the first octet or by STLS."""
    if not by_stls:
        return RawClient(server.tls_addresses[0], tls=context, server_name=name)
    client = RawClient(server.addresses[0])
    assert client.start_tls(context, name) == b"+OK begin TLS negotiation\r\n"
    return client


both_ways = pytest.mark.parametrize("by_stls", [False, True], ids=["port 995", "STLS"])


def test_a_client_reads_and_removes_under_tls_from_the_first_octet(tls: TlsSite) -> None:
    """T-003, T-016, T-017, T-018, T-024: the greeting comes after the handshake, and all else is the same."""
    server = tls.site.start()

    client = poplib.POP3_SSL(HOST, server.tls_addresses[0][1], context=tls.context())
    assert "STLS" not in client.capa()
    client.user("alice")
    client.pass_("secret")
    assert client.retr(1)[1] == SENT
    client.dele(1)
    assert client.quit().startswith(b"+OK")

    assert tls.site.spool("alice").read_bytes() == b""
    with tls.connect(server) as again:
        assert again.ask("STLS").startswith(b"-ERR")


def test_a_client_begins_in_clear_text_and_goes_on_under_tls(tls: TlsSite) -> None:
    """T-001, T-006, T-012: STLS, the handshake, no second greeting, and everything else under TLS."""
    server = tls.site.start()

    client = poplib.POP3(*server.addresses[0])
    assert "STLS" in client.capa()
    client.stls(tls.context())
    assert "STLS" not in client.capa()
    client.user("alice")
    assert client.pass_("secret").startswith(b"+OK")
    assert client.retr(1)[1] == SENT
    client.quit()


def test_the_log_says_for_each_login_what_protected_it(tls: TlsSite) -> None:
    """T-038: version and cipher suite, or no."""
    server = tls.site.start()

    tls.site.connect(server, "bob").close()
    with tls.connect(server) as client:
        client.log_in("alice", "secret")
    for _ in server.until("two logins in the log"):
        lines = re.findall(r" login .* user=(\w+) tls=(\S+)", server.log())
        if len(lines) == 2:
            break

    assert lines == [("bob", "no"), ("alice", "TLSv1.3/TLS_AES_256_GCM_SHA384")]


def test_clear_text_can_be_refused_to_everybody(tls: TlsSite) -> None:
    """A-007, T-037, T-039: with "never" the machine itself gets no exemption."""
    tls.configure(more='[login]\nclear_text = "never"\n')
    server = tls.site.start()

    with RawClient(server.addresses[0]) as client:
        assert client.ask("USER alice") == b"-ERR encrypt the connection first\r\n"
        client.start_tls(tls.context(), HOST)
        assert client.log_in("alice", "secret").startswith(b"+OK")


# --- versions and parameters


@both_ways
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_only_new_versions_are_spoken(tls: TlsSite, version: str, by_stls: bool) -> None:
    """T-023, H-034: TLS 1.2 and 1.3 (RFC 8997)."""
    server = tls.site.start()
    context = tls.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    if version in {"TLSv1", "TLSv1_1"}:
        with pytest.raises(OSError, match=r"(?i)alert|protocol|closed|reset"):
            handshake(server, context, by_stls=by_stls)
    else:
        with handshake(server, context, by_stls=by_stls) as client:
            assert client.ask("NOPE").startswith(b"-ERR")


def test_tls_1_3_alone_can_be_demanded(tls: TlsSite) -> None:
    """The setting min_version."""
    tls.configure(tls='min_version = "TLSv1.3"')
    server = tls.site.start()
    context = tls.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(OSError, match=r"(?i)alert"):
        tls.connect(server, context)


@pytest.mark.parametrize("suite", ["NULL-SHA256", "AES256-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"])
def test_weak_suites_are_not_taken(tls: TlsSite, suite: str) -> None:
    """T-025, H-034: nothing without encryption, without forward secrecy, or in CBC mode (RFC 9325 section 4.1)."""
    tls.renew(key_type=KeyType.RSA)
    context = tls.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{suite}:@SECLEVEL=0")

    server = tls.site.start()
    with pytest.raises(OSError, match=r"(?i)alert"):
        tls.connect(server, context)

    tls.configure(tls='ciphers = "ALL:eNULL:@SECLEVEL=0"')
    server.reload()
    for _ in server.until("the suite: nothing else was in the way"):
        with contextlib.suppress(OSError), tls.connect(server, context):
            break


def s_client_command(server: ServerProcess, *options: str, stls: bool = False) -> list[str]:
    """Return the command line of openssl s_client."""
    address = server.addresses[0] if stls else server.tls_addresses[0]
    where = ["-connect", f"{address[0]}:{address[1]}", "-servername", HOST]
    return ["openssl", "s_client", *where, *(["-starttls", "pop3"] if stls else []), *options]


def s_client(server: ServerProcess, *options: str, said: str = "") -> str:
    """Run openssl s_client; return all that it says."""
    command = s_client_command(server, *options)
    done = subprocess.run(command, check=False, input=said.encode(), capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("stls", [False, True])
def test_there_is_no_compression_and_no_renegotiation(tls: TlsSite, stls: bool) -> None:
    """T-026, T-027, H-032: a client that asks for new keys under TLS 1.2 gets none; RFC 5746 is signalled."""
    server = tls.site.start()

    command = s_client_command(server, "-tls1_2", stls=stls)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        lines: list[bytes] = []
        while not lines or not lines[-1].startswith(b"+OK"):  # what comes in the middle would be an error of its own
            lines.append(client.stdout.readline())
            assert lines[-1], lines
        client.stdin.write(b"R\n")
        client.stdin.flush()  # and left open: it has to wait for what comes of it, which ends it
        told = b"".join([*lines, client.stdout.read()]).decode(errors="replace")

    assert "Secure Renegotiation IS supported" in told
    assert "Compression: NONE" in told
    assert re.search(r"no renegotiation|unexpected eof|handshake failure", told.partition("RENEGOTIATING")[2])


def test_early_data_is_not_taken(tls: TlsSite) -> None:
    """T-028, T-029, H-033: a session is resumed, but nothing is carried out before the handshake is over."""
    server = tls.site.start()
    ticket, early = tls.site.directory / "ticket", tls.site.directory / "early"
    early.write_bytes(b"USER alice\r\n")

    first = s_client(server, "-sess_out", str(ticket), "-ign_eof", said="QUIT\r\n")
    again = s_client(server, "-sess_in", str(ticket), "-early_data", str(early), "-ign_eof", said="QUIT\r\n")

    assert "Max Early Data: 0" in first
    assert "Reused, TLSv1.3" in again
    assert "Early data was not sent" in again or "Early data was rejected" in again
    assert "send PASS" not in again


# --- ALPN


@both_ways
@pytest.mark.parametrize(
    ("offered", "selected"),
    [(["pop3"], "pop3"), (["http/1.1", "pop3"], "pop3"), (None, None)],
    ids=["pop3", "both", "none"],
)
def test_the_protocol_is_called_pop3(
    tls: TlsSite, offered: list[str] | None, selected: str | None, by_stls: bool
) -> None:
    """T-030: who offers it gets it; who says nothing goes on."""
    server = tls.site.start()
    context = tls.context()
    if offered is not None:
        context.set_alpn_protocols(offered)

    with handshake(server, context, by_stls=by_stls) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.selected_alpn_protocol() == selected


@both_ways
def test_who_wants_another_protocol_is_sent_away(tls: TlsSite, by_stls: bool) -> None:
    """T-031, H-034: with the alert for it, so that no browser is led here (RFC 7301 section 3.2)."""
    server = tls.site.start()
    context = tls.context()
    context.set_alpn_protocols(["h2", "http/1.1"])

    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        handshake(server, context, by_stls=by_stls)
    server.wait_for_log("tls-failed")
    assert 'reason="the client wants to speak another protocol"' in server.log()


# --- the end


def test_the_server_says_that_it_ends(tls: TlsSite) -> None:
    """T-019: an alert behind the reply to QUIT; without one, this client would call it a violation of the protocol."""
    server = tls.site.start()

    with socket.create_connection(server.tls_addresses[0]) as plain:
        client = tls.context().wrap_socket(plain, server_hostname=HOST, suppress_ragged_eofs=False)
        client.sendall(b"QUIT\r\n")
        said = b""
        while octets := client.recv(65536):
            said += octets
        client.close()

    assert said.endswith(b"+OK bye\r\n")


def test_a_line_that_breaks_removes_nothing(tls: TlsSite) -> None:
    """T-020, H-036: neither an end without an alert nor half a QUIT is one."""
    server = tls.site.start()

    client = tls.connect(server)
    client.log_in("alice", "secret")
    client.send(b"DELE 1\r\nQUI")
    client.line()
    with socket.socket(fileno=client.socket.detach()) as plain:
        plain.setblocking(True)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(65536):
            pass

    server.wait_for_log("outcome=disconnected")
    assert MESSAGE in tls.site.spool("alice").read_bytes()


# --- programs


@pytest.mark.parametrize("scheme", ["pop3", "pop3s"])
def test_curl_reads_and_removes(tls: TlsSite, scheme: str) -> None:
    """--ssl-reqd on port 110, and pop3s."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    server = tls.site.start()
    (tls.site.directory / "ca.pem").write_bytes(tls.authority.cert_pem.bytes())
    port = (server.tls_addresses if scheme == "pop3s" else server.addresses)[0][1]

    def curl(*options: str) -> bytes:
        common = ["--silent", "--show-error", "--max-time", "30", "--ssl-reqd", "--user", "alice:secret"]
        trusted = ["--cacert", str(tls.site.directory / "ca.pem")]
        return subprocess.run(
            ["curl", *common, *trusted, *options, f"{scheme}://{HOST}:{port}/1"], check=True, capture_output=True
        ).stdout

    assert curl() == MESSAGE.replace(b"\n", b"\r\n")
    curl("--head", "--request", "DELE")
    assert tls.site.spool("alice").read_bytes() == b""
    assert server.count_in_log("tls=TLSv1.3/") == 2


@pytest.mark.parametrize("way", ["--sslproto TLS1.2+", "--ssl"])
def test_fetchmail_fetches_under_tls(tls: TlsSite, way: str) -> None:
    """By STLS, which it insists on, and on the port for TLS."""
    if shutil.which("fetchmail") is None:
        pytest.skip("needs fetchmail (Debian: fetchmail)")
    server = tls.site.start()
    directory = tls.site.directory
    (directory / "ca.pem").write_bytes(tls.authority.cert_pem.bytes())
    port = (server.tls_addresses if way == "--ssl" else server.addresses)[0][1]
    (directory / ".fetchmailrc").write_text(f'poll {HOST} protocol pop3 port {port} user "alice" password "secret"\n')
    (directory / ".fetchmailrc").chmod(0o600)
    (directory / "ca.pem").chmod(0o644)
    command = [
        "fetchmail",
        "-f",
        str(directory / ".fetchmailrc"),
        *way.split(),
        "--sslcertfile",
        str(directory / "ca.pem"),
    ]
    command += ["--sslcertck", "--nosyslog", "--mda", f"cat > {directory}/fetched", "--pidfile", str(directory / "pid")]

    done = subprocess.run(
        command, check=False, capture_output=True, timeout=50, env={"HOME": str(directory), "PATH": "/usr/bin:/bin"}
    )

    assert done.returncode == 0, done
    assert b"How are you?" in (directory / "fetched").read_bytes()
    assert tls.site.spool("alice").read_bytes() == b""
    assert "tls=TLSv1" in server.log()


@pytest.mark.parametrize("stls", [False, True], ids=["port 995", "STLS"])
def test_sslyze_finds_nothing_below_mozillas_intermediate_profile(tls: TlsSite, stls: bool) -> None:
    """T-023, T-024, T-025, T-026, T-027: but for the certificate, which a test's authority has signed."""
    pytest.importorskip("sslyze", reason="needs sslyze, of the group test")
    server = tls.site.start()
    host, port = (server.addresses if stls else server.tls_addresses)[0]
    options = ["--starttls=pop3"] if stls else []

    done = subprocess.run(
        [sys.executable, "-m", "sslyze", *options, "--mozilla_config=intermediate", f"{host}:{port}"],
        check=False, capture_output=True, text=True, timeout=50,
    )  # fmt: skip

    complaints = [line.strip() for line in done.stdout.splitlines() if line.lstrip().startswith("* ")]
    of_the_test = ("* certificate_path_validation:", "* maximum_certificate_lifespan:")
    findings = [line for line in complaints if not line.startswith(of_the_test) and " are supported" in line]
    # Stronger than the profile asks for, and in the way of nobody; Python cannot choose several curves before 3.15.
    stronger = "* tls_curves: TLS curves {'X448', 'secp521r1'} are supported, but should be rejected."
    assert "Mozilla" in done.stdout
    assert [line for line in findings if sorted(line) != sorted(stronger)] == [], done.stdout
    assert "VULNERABLE - " not in done.stdout


def test_sockets_from_systemd_are_known_by_their_names(tls: TlsSite) -> None:
    """T-016: FileDescriptorName=pop3s of packaging/systemd/popframe-tls.socket, and a name that means nothing."""
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("needs systemd-socket-activate (Debian: systemd)")
    ports = [free_port(), free_port()]
    names = ["--fdname=pop3s:any", *(f"--listen=127.0.0.1:{port}" for port in ports)]
    server = tls.site.server()
    server.start(command=("systemd-socket-activate", *names))
    server.tls_addresses, server.addresses = [("127.0.0.1", port) for port in ports[:1]], [("127.0.0.1", ports[1])]

    with tls.connect(server) as first, RawClient(server.addresses[0]) as second:
        assert first.greeting.startswith(b"+OK")
        assert second.start_tls(tls.context(), HOST).startswith(b"+OK")
