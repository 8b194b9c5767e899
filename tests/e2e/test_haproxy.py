"""HAProxy in front of the server, as in packaging/haproxy: clients are known by their own addresses."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from popframe.testing.client import RawClient
from popframe.testing.server import ServerProcess
from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite

PACKAGING = Path(__file__).parents[2] / "packaging" / "haproxy"
CERTIFICATE = "/etc/haproxy/pop.example.org.pem"
CLIENT = "127.0.0.3"
"""Where the tests' clients come from; HAProxy itself connects from 127.0.0.1."""

NOBODY = ("127.0.0.1", 1)
"""Where nobody listens: in place of servers that a test does not need."""

MESSAGES = [b"Subject: one\n\nhello\n"]

PROXY = '[proxy]\nlisten = ["127.0.0.1:0"]\nnetworks = ["127.0.0.1"]\n'

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin")

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(HAPROXY is None, reason="needs haproxy (Debian: haproxy)"),
]


@contextlib.contextmanager
def haproxy(
    site: MailSite, name: str, servers: Mapping[int, tuple[str, int]], changes: Mapping[str, str] | None = None
) -> Iterator[dict[int, int]]:
    """Run HAProxy with a shipped configuration, and yield the port that stands for each of 110 and 995.

    Args:
        site: Where its file goes.
        name: The configuration.
        servers: Addresses by the ports that the configuration gives to servers.
        changes: What else to replace in it.
    """
    text = (PACKAGING / name).read_text()
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    for port in map(int, re.findall(r"192\.0\.2\.20:(\d+) send", text)):
        host, number = servers.get(port, NOBODY)
        text = text.replace(f"192.0.2.20:{port} send", f"{host}:{number} send")
    with contextlib.ExitStack() as open_sockets:
        listeners = {
            int(port): open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
            for port in re.findall(r"bind :(\d+)", text)
        }
        for port, listener in listeners.items():
            text = text.replace(f"bind :{port}", f"bind fd@{listener.fileno()}")
        path = site.directory / name
        path.write_text(text)
        descriptors = [listener.fileno() for listener in listeners.values()]
        assert HAPROXY is not None
        with (site.directory / "haproxy.log").open("wb") as log:
            process = subprocess.Popen([HAPROXY, "-db", "-f", path], pass_fds=descriptors, stdout=log, stderr=log)
        try:
            yield {port: listener.getsockname()[1] for port, listener in listeners.items()}
            assert process.poll() is None, (site.directory / "haproxy.log").read_text()
        finally:
            process.terminate()
            process.wait(30)


def curl(url: str, *options: str) -> bytes:
    """Run curl as alice, from the address of a client, and return what it wrote."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--interface", CLIENT, "--user", "alice:secret"]
    return subprocess.run([*command, *options, url], check=True, capture_output=True).stdout


def logins(server: ServerProcess) -> list[str]:
    """Return the addresses that alice has logged in from."""
    return re.findall(r" login session=\S+ address=(\S+) user=alice", server.log())


@pytest.fixture
def tls(site: MailSite) -> TlsSite:
    """Return a site with a certificate and a message for alice."""
    site.put("alice", MESSAGES)
    return TlsSite(site)


@pytest.fixture
def authority(tls: TlsSite) -> tuple[str, str]:
    """Return what curl needs to trust the site's certificate."""
    path = tls.site.directory / "authority.pem"
    tls.authority.cert_pem.write_to_path(path)
    return "--cacert", str(path)


@pytest.mark.parametrize("name", ["popframe.cfg", "popframe-tls.cfg"])
def test_the_shipped_configurations_are_understood(name: str, tls: TlsSite, tmp_path: Path) -> None:
    """``haproxy -c`` has nothing against them, but for the place of the certificate."""
    path = tmp_path / name
    path.write_text((PACKAGING / name).read_text().replace(CERTIFICATE, str(tls.certificate)))
    assert HAPROXY is not None
    result = subprocess.run([HAPROXY, "-c", "-f", path], capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_a_client_of_haproxy_reads_mail_under_its_own_address(site: MailSite, version: str) -> None:
    """N-010, N-015, N-016, N-020: headers as HAProxy writes them; curl lists and reads."""
    site.put("alice", MESSAGES)
    site.configure(more=f'[login]\nclear_text = "always"\n{PROXY}', listen=())
    server = site.start()
    with haproxy(site, "popframe.cfg", {1110: server.proxy_addresses[0]}, {"send-proxy-v2": version}) as ports:
        assert curl(f"pop3://127.0.0.1:{ports[110]}/").split() == [b"1", b"23"]
        assert curl(f"pop3://127.0.0.1:{ports[110]}/1") == MESSAGES[0].replace(b"\n", b"\r\n")

    assert logins(server) == [CLIENT, CLIENT]
    assert " proxy-refused " not in server.log()


def test_tls_passes_through_haproxy(tls: TlsSite, authority: tuple[str, str]) -> None:
    """N-018, N-020: STLS on port 110 and TLS on port 995, with the server's own certificate."""
    tls.site.configure(
        more=f'[tls]\ncertificate = "{tls.certificate}"\n{PROXY}listen_tls = ["127.0.0.1:0"]\n', listen=()
    )
    server = tls.site.start()
    places = {1110: server.proxy_addresses[0], 1995: server.proxy_tls_addresses[0]}
    with haproxy(tls.site, "popframe.cfg", places) as ports:
        for url in (f"pop3://{HOST}:{ports[110]}/1", f"pop3s://{HOST}:{ports[995]}/1"):
            assert curl(url, "--ssl-reqd", *authority) == MESSAGES[0].replace(b"\n", b"\r\n")
        with pytest.raises(subprocess.CalledProcessError):
            curl(f"pop3://{HOST}:{ports[110]}/1")

    assert re.findall(r" login session=\S+ address=(\S+) user=alice tls=(TLSv1.3)/", server.log()) == [
        (CLIENT, "TLSv1.3"),
        (CLIENT, "TLSv1.3"),
    ]


@pytest.mark.parametrize("trust", [True, False])
def test_tls_that_ends_at_haproxy_protects_where_it_is_trusted(
    tls: TlsSite, authority: tuple[str, str], trust: bool
) -> None:
    """N-019: PP2_TYPE_SSL; without trust_tls the same client cannot send a password."""
    tls.site.configure(more=f"{PROXY}trust_tls = {str(trust).lower()}\n", listen=())
    server = tls.site.start()
    changes = {CERTIFICATE: str(tls.certificate)}
    with haproxy(tls.site, "popframe-tls.cfg", {1110: server.proxy_addresses[0]}, changes) as ports:
        if trust:
            assert curl(f"pop3s://{HOST}:{ports[995]}/1", *authority) == MESSAGES[0].replace(b"\n", b"\r\n")
        else:
            with pytest.raises(subprocess.CalledProcessError):
                curl(f"pop3s://{HOST}:{ports[995]}/1", *authority)

    assert re.findall(r" login session=\S+ address=(\S+) user=alice tls=(\S+)", server.log()) == (
        [(CLIENT, "TLSv1.3/TLS_AES_256_GCM_SHA384")] if trust else []
    )


@pytest.mark.parametrize("trust", [True, False])
def test_tls_from_haproxy_to_the_server_is_not_that_of_the_client(
    tls: TlsSite, authority: tuple[str, str], trust: bool
) -> None:
    """N-018, N-019: header, then TLS that HAProxy itself makes; the log has the client's, where HAProxy is trusted."""
    (_, path) = authority
    tls.site.configure(
        more=f'[tls]\ncertificate = "{tls.certificate}"\nclient_ca = "{path}"\n[proxy]\nnetworks = ["127.0.0.1"]\n'
        f'listen_tls = ["127.0.0.1:0"]\ntrust_tls = {str(trust).lower()}\n',
        listen=(),
    )
    server = tls.site.start()
    # HAProxy has the server's certificate for one of its own, and speaks TLS 1.2 with the server alone.
    encrypted = f"ssl verify required ca-file {path} verifyhost {HOST} crt {tls.certificate} force-tlsv12 "
    changes = {CERTIFICATE: str(tls.certificate), "check inter 10s": encrypted}
    with haproxy(tls.site, "popframe-tls.cfg", {1110: server.proxy_tls_addresses[0]}, changes) as ports:
        if trust:
            assert curl(f"pop3s://{HOST}:{ports[995]}/1", *authority) == MESSAGES[0].replace(b"\n", b"\r\n")
        else:
            with pytest.raises(subprocess.CalledProcessError):
                curl(f"pop3s://{HOST}:{ports[995]}/1", *authority)

    assert re.findall(r" login session=\S+ address=(\S+) user=alice tls=(\w+)", server.log()) == (
        [(CLIENT, "TLSv1")] if trust else []
    )
    assert ("tls=TLSv1.3/" in server.log()) is trust
    assert ("the client's TLS ends at the proxy" in server.log()) is not trust


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_health_checks_are_no_clients(site: MailSite, version: str) -> None:
    """N-011, N-013, N-020: HAProxy keeps asking, and uses up no client's share and no line of the log."""
    site.put("alice", MESSAGES)
    clear_text = '[login]\nclear_text = "always"\n'
    site.configure("max_connections_per_address = 1\n", clear_text + PROXY, listen=())
    server = site.start()
    changes = {"send-proxy-v2": version, "inter 10s": "inter 50ms"}
    with haproxy(site, "popframe.cfg", {1110: server.proxy_addresses[0]}, changes) as ports:
        time.sleep(1)
        with RawClient(("127.0.0.1", ports[110]), source=CLIENT) as client:
            assert client.log_in("alice", "secret").startswith(b"+OK")
        assert "is DOWN" not in (site.directory / "haproxy.log").read_text().replace("popframe-tls/mail is DOWN", "")

    assert "refused" not in server.log()
    assert "127.0.0.1" not in server.log().replace("listen=127.0.0.1", "")
