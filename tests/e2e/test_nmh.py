"""nmh's inc, the mail reader of the MH tradition, with the switches that it has for TLS and SASL."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from popframe.testing.site import MailSite

from .tls_site import HOST, TlsSite

INC = shutil.which("inc", path=f"/usr/bin/mh:{os.environ['PATH']}")

pytestmark = pytest.mark.skipif(INC is None, reason="needs inc (Debian: nmh)")


@pytest.mark.parametrize("tls_switch", ["-initialtls", "-tls", "-notls"])
@pytest.mark.parametrize("sasl", [(), ("-sasl", "-saslmech", "plain")], ids=["USER", "PLAIN"])
def test_inc_incorporates_and_removes(site: MailSite, tmp_path: Path, tls_switch: str, sasl: tuple[str, ...]) -> None:
    """By USER and PASS, or by AUTH PLAIN; from the first octet, by STLS, and in clear text on the same machine."""
    tls = TlsSite(site)
    tls.configure()
    site.put("alice", [b"Subject: hello\n\nHow are you?\n", b"Subject: again\n\n.\n..\n"])
    server = site.start()
    (tmp_path / "Mail" / "inbox").mkdir(parents=True)
    (tmp_path / ".mh_profile").write_text(f"Path: Mail\ncredentials: file:{tmp_path}/secrets\n")
    (tmp_path / "secrets").write_text(f"machine {HOST} login alice password secret\n")
    (tmp_path / "secrets").chmod(0o600)
    (tmp_path / "ca.pem").write_bytes(tls.authority.cert_pem.bytes())
    port = (server.tls_addresses if tls_switch == "-initialtls" else server.addresses)[0][1]
    where = ["-host", HOST, "-port", str(port), "-user", "alice", "-truncate", tls_switch]
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin/mh:/usr/bin:/bin",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }

    done = subprocess.run(
        [str(INC), *where, *sasl],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 0, done
    folder = tmp_path / "Mail" / "inbox"
    texts = [path.read_text() for path in sorted(folder.iterdir()) if path.name.isdigit()]
    assert [text.partition("\n\n")[2] for text in texts] == ["How are you?\n", ".\n..\n"]
    assert site.spool("alice").read_bytes() == b""
    login = next(line for line in server.log().splitlines() if " login " in line)
    assert f"mechanism={'PLAIN' if sasl else 'PASS'}" in login
    assert ("tls=no" in login) is (tls_switch == "-notls")
