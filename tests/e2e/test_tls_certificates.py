"""Certificates while the server runs: which one a client gets, and how one takes the place of another."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
import threading

import pytest
import trustme

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite

REPLACEMENTS = 10


@pytest.fixture
def tls(site: MailSite) -> TlsSite:
    """Return a site with a certificate."""
    made = TlsSite(site)
    made.configure()
    return made


def shown(server: ServerProcess, context: ssl.SSLContext, name: str | None = HOST) -> bytes:
    """Return the certificate that a client gets, in DER form."""
    with RawClient(server.tls_addresses[0], tls=context, server_name=name) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        return client.socket.getpeercert(binary_form=True) or b""


def test_the_name_that_a_client_asks_for_chooses_the_certificate(tls: TlsSite) -> None:
    """Q-042, T-032, T-033: another certificate for another name, with all that leads to its root."""
    middle = tls.authority.create_child_ca()
    issued = middle.issue_cert("pop.example.org")
    (tls.site.directory / "other.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    tls.configure(more='[[tls.hosts]]\nnames = ["pop.example.org"]\ncertificate = "other.pem"\n')
    server = tls.site.start()
    context = tls.context()  # trusts the root alone

    other = shown(server, context, "pop.example.org")

    assert other == ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    assert shown(server, context) != other


def test_a_certificate_that_is_replaced_is_taken_over_by_itself(tls: TlsSite) -> None:
    """T-036: without a signal, and sessions that are under way go on."""
    server = tls.site.start()
    context = tls.context()
    first = shown(server, context)
    with tls.connect(server) as session:
        session.log_in("alice", "secret")

        second = tls.renew()
        for _ in server.until("the new certificate"):
            if shown(server, context) == second:
                break

        assert first != second
        assert session.ask("NOOP").startswith(b"+OK")
        assert session.ask("QUIT").startswith(b"+OK")


@pytest.mark.parametrize("how", ["file", "signal"])
def test_a_broken_certificate_changes_nothing_and_is_told(tls: TlsSite, how: str) -> None:
    """The old one stays in use; once the file is right again, the new one is."""
    server = tls.site.start()
    context = tls.context()
    first = shown(server, context)

    tls.certificate.write_text("broken\n")
    if how == "signal":
        server.reload()
    server.wait_for_log("not a certificate and its key in PEM form")
    assert shown(server, context) == first
    assert len(server.fronts()) >= 1

    second = tls.renew()
    for _ in server.until("the new certificate"):
        if shown(server, context) == second:
            break


def test_a_certificate_is_replaced_under_load_and_no_handshake_fails(tls: TlsSite) -> None:
    """T-036: ten times, in turn by the file alone and with a signal."""
    tls.configure(more="[abuse]\nmax_connections_per_minute = 0\n")
    server = tls.site.start()
    context = tls.context()
    failures: list[BaseException] = []
    seen: set[bytes] = set()
    is_over = threading.Event()
    handshakes = [0, 0, 0]

    def load(number: int) -> None:
        while not is_over.is_set():
            try:
                seen.add(hashlib.sha256(shown(server, context)).digest())
                handshakes[number] += 1
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(len(handshakes))]
    for thread in threads:
        thread.start()
    try:
        for number in range(REPLACEMENTS):
            wanted = hashlib.sha256(tls.renew()).digest()
            if number % 2:
                server.reload()
            for _ in server.until("the new certificate in use"):
                if wanted in seen:
                    break
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)

    assert failures == []
    assert len(seen) == REPLACEMENTS + 1
    assert min(handshakes) > REPLACEMENTS


def test_a_certificate_that_ends_soon_is_told(tls: TlsSite) -> None:
    """The log says of each until when it is valid, and warns two weeks before."""
    key = tls.site.directory / "short.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-subj",
        "/CN=x",
    ]
    subprocess.run(
        [*command, "-days", "3", "-keyout", key, "-out", tls.site.directory / "short.pem"],
        check=True,
        capture_output=True,
    )
    tls.configure(more='[[tls.hosts]]\nnames = ["short.example"]\ncertificate = "short.pem"\nkey = "short.key"\n')

    server = tls.site.start()

    lines = [line for line in server.log().splitlines() if " certificate " in line]
    assert [("level=warning" in line, "short.pem" in line) for line in lines] == [(False, False), (True, True)]


def check_config(tls: TlsSite) -> subprocess.CompletedProcess[str]:
    """Run popframe check-config."""
    command = [sys.executable, "-m", "popframe", "check-config", str(tls.site.configuration)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def test_a_configuration_is_checked_with_its_certificates(tls: TlsSite) -> None:
    """Before a server is started with it; and a server does not start."""
    assert check_config(tls).returncode == 0

    tls.certificate.write_text("broken\n")

    done = check_config(tls)
    assert done.returncode == 2
    assert "tls.certificate: " in done.stderr
    with pytest.raises(AssertionError, match=r"tls\.certificate: .*server\.pem with the key in"):
        tls.site.start()


# --- certificates of clients


@pytest.fixture
def asking(tls: TlsSite) -> TlsSite:
    """Return a site that asks clients for a certificate of an authority of its own."""
    (tls.site.directory / "clients.pem").write_bytes(tls.client_authority.cert_pem.bytes())
    tls.configure(tls='client_ca = "clients.pem"')
    return tls


def with_certificate(tls: TlsSite, issued: trustme.LeafCert) -> ssl.SSLContext:
    """Return the context of a client that shows a certificate."""
    context = tls.context()
    issued.configure_cert(context)
    return context


def greeted(server: ServerProcess, context: ssl.SSLContext) -> bytes:
    """Return the greeting, and the reply to a command of the TRANSACTION state."""
    with RawClient(server.tls_addresses[0], tls=context, server_name=HOST) as client:
        return client.greeting + client.ask("STAT")


def test_a_certificate_of_a_client_alone_logs_nobody_in(asking: TlsSite) -> None:
    """A-080: it is in the AUTHORIZATION state until it says AUTH EXTERNAL."""
    server = asking.site.start()
    context = with_certificate(asking, asking.client_authority.issue_cert("alice@example.org", common_name="alice"))

    assert greeted(server, context).splitlines()[1] == b"-ERR command not valid in this state"
    assert greeted(server, asking.context()).startswith(b"+OK")


def test_a_certificate_that_cannot_be_verified_ends_the_handshake(asking: TlsSite) -> None:
    """T-035, A-082: of another authority, and self-made."""
    server = asking.site.start()

    stranger = with_certificate(asking, trustme.CA().issue_cert("alice@example.org", common_name="alice"))
    with pytest.raises(OSError, match=r"(?i)alert|closed|EOF"):
        greeted(server, stranger)
    assert greeted(server, asking.context()).startswith(b"+OK")


def asked_for_certificate(server: ServerProcess) -> bool:
    """Tell whether the server asks a client for one."""
    host, port = server.tls_addresses[0]
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", HOST]
    done = subprocess.run(command, input=b"QUIT\r\n", check=False, capture_output=True, timeout=30)
    return b"Requested Signature Algorithms:" in done.stdout


def test_clients_are_asked_for_a_certificate_only_where_that_is_of_use(asking: TlsSite) -> None:
    """T-034: some programs ask their user when they are asked."""
    server = asking.site.start()
    assert asked_for_certificate(server)

    asking.configure()
    server.reload()
    for _ in server.until("no request for a certificate"):
        if not asked_for_certificate(server):
            break


def test_keys_stay_out_of_the_log(tls: TlsSite) -> None:
    """H-051: whatever is wrong with a file, what is in it is not told."""
    secret = "MC4CAQAwBQYDK2VwBCIEIKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEY"
    server = tls.site.start()

    tls.certificate.write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    server.wait_for_log("certificates-refused")

    assert secret not in server.log()
