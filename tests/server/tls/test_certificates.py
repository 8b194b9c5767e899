"""Certificates: what is loaded, what is refused and with which words, and who gets which."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from popframe.config.tls import TlsSettings
from popframe.errors import ConfigError
from popframe.server.tls import Certificates


class Issued:
    """Files of certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()

    def write(self, name: str, *hosts: str) -> Path:
        """Write certificate and key into one file."""
        issued = self.authority.issue_cert(*hosts, common_name=hosts[0])
        path = self.folder / f"{name}.pem"
        path.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        return path


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    """Return a place for certificates."""
    return Issued(tmp_path)


def settings(**values: object) -> TlsSettings:
    """Return settings as a file gives them."""
    return TlsSettings.model_validate_json(json.dumps(values, default=str))


def der_of(path: Path) -> bytes:
    """Return the first certificate of a file."""
    text = path.read_text()
    return ssl.PEM_cert_to_DER_cert(
        text[text.index("-----BEGIN CERTIFICATE") :].partition("-----END CERTIFICATE-----")[0]
        + "-----END CERTIFICATE-----"
    )


def test_each_name_gets_its_certificate(issued: Issued) -> None:
    """T-032: the exact name before the wildcard; no name, another, or one label too many gets the default."""
    default, exact, wild = (
        issued.write(name, name) for name in ("mail.example.com", "pop.example.org", "any.example.org")
    )
    certificates = Certificates(
        settings(
            certificate=default,
            hosts=[
                {"names": ["*.example.org"], "certificate": wild},
                {"names": ["pop.example.org", "pop.example.net"], "certificate": exact},
            ],
        )
    )

    def path_for(name: str) -> Path:
        return certificates.for_name(name).path

    assert [path_for(name) for name in ("pop.example.org", "pop.example.net", "pop.example.org.")] == [exact] * 3
    assert path_for("imap.example.org") == wild
    assert [path_for(name) for name in ("", "example.org", "a.b.example.org", "x" * 255)] == [default] * 4
    assert len(certificates.all) == 3


def test_the_channel_binding_is_the_hash_of_the_certificate(issued: Issued) -> None:
    """RFC 5929 section 4.1: with the hash of its signature, SHA-256 here."""
    path = issued.write("server", "localhost")

    certificate = Certificates(settings(certificate=path)).for_name("")

    assert certificate.end_point == hashlib.sha256(der_of(path)).hexdigest()


@pytest.mark.parametrize(
    ("digest", "key", "expected"),
    [
        ("sha384", "rsa:2048", "sha384"),
        ("sha512", "rsa:2048", "sha512"),
        ("sha1", "rsa:2048", "sha256"),
        ("", "ed25519", ""),
    ],
)
def test_other_signatures_have_other_channel_bindings(digest: str, key: str, expected: str, tmp_path: Path) -> None:
    """RFC 5929 section 4.1: SHA-1 counts as SHA-256; without a hash there is none."""
    path, key_path = tmp_path / "server.pem", tmp_path / "key.pem"
    options = ["-newkey", key, *([f"-{digest}"] if digest else [])]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=x",
            *options,
            "-keyout",
            key_path,
            "-out",
            path,
        ],
        check=True,
        capture_output=True,
    )
    if digest == "sha1":
        certificates = Certificates(settings(certificate=path, key=key_path, ciphers="ECDHE+AESGCM:@SECLEVEL=0"))
    else:
        certificates = Certificates(settings(certificate=path, key=key_path))

    assert certificates.for_name("").end_point == (hashlib.new(expected, der_of(path)).hexdigest() if expected else "")


def _no_pem(issued: Issued) -> dict[str, object]:
    path = issued.folder / "empty.pem"
    path.write_text("not a certificate\n")
    return {"certificate": path}


def _other_key(issued: Issued) -> dict[str, object]:
    return {"certificate": issued.write("one", "localhost"), "key": issued.write("two", "localhost")}


def _passphrase(issued: Issued) -> dict[str, object]:
    path = issued.write("server", "localhost")
    locked = issued.folder / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", path, "-aes128", "-passout", "pass:word", "-out", locked],
        check=True,
        capture_output=True,
    )
    return {"certificate": path, "key": locked}


def _no_suite(issued: Issued) -> dict[str, object]:
    return {"certificate": issued.write("server", "localhost"), "ciphers": "RC5-MD6"}


def _no_authority(issued: Issued) -> dict[str, object]:
    return {"certificate": issued.write("server", "localhost"), **{"client_ca": _no_pem(issued)["certificate"]}}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            _no_pem,
            r"^tls\.certificate: .*empty\.pem with the key in .*empty\.pem: not a certificate and its key in PEM form",
        ),
        (
            _other_key,
            r"^tls\.certificate: .*one\.pem with the key in .*two\.pem: the key is that of another certificate$",
        ),
        (_passphrase, r"^tls\.key: .*locked\.pem: the key has a passphrase, which nobody is there to type"),
        (_no_suite, r"^tls\.ciphers: OpenSSL knows no suite in 'RC5-MD6'$"),
        (_no_authority, r"^tls\.client_ca, tls\.client_crl: not in PEM form"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(make: object, text: str, issued: Issued) -> None:
    """Each mistake says which setting, which file, and what is wrong with it; nobody is asked for a passphrase."""
    assert callable(make)
    values = make(issued)

    with pytest.raises(ConfigError, match=text):
        Certificates(settings(**values))


@pytest.mark.parametrize(
    ("kind", "shown", "name"),
    [
        ("common-name", {"subject": ((("countryName", "AT"),), (("commonName", "alice"),))}, "alice"),
        ("common-name", {"subject": ((("commonName", "alice"),), (("commonName", "bob"),))}, ""),
        ("common-name", {"subject": ((("commonName", "alice\0.evil"),),)}, ""),
        ("common-name", {"subject": ((("commonName", "alice\r\nx"),),)}, ""),
        ("common-name", {"subject": ()}, ""),
        ("common-name", {}, ""),
        ("common-name", None, ""),
        ("email", {"subjectAltName": (("DNS", "x"), ("email", "alice@example.org"))}, "alice@example.org"),
        ("email", {"subjectAltName": (("email", "a@example.org"), ("email", "b@example.org"))}, ""),
        ("email", {"subjectAltName": (("othername", "<unsupported>"),)}, ""),
    ],
)
def test_a_client_is_whom_its_certificate_names_once(
    kind: str, shown: Mapping[str, object] | None, name: str, issued: Issued
) -> None:
    """A-079, H-037: nobody when the name is missing, doubled, or holds what no name holds."""
    certificates = Certificates(settings(certificate=issued.write("server", "localhost"), client_name=kind))

    assert certificates.client_name_in(shown) == name
