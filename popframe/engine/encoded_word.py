"""Text beyond ASCII as header fields may hold it: encoded-words (RFC 2047), parameters (RFC 2231), and addresses."""

from __future__ import annotations

import base64
import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

UNKNOWN_CHARSET = "unknown-8bit"
"""What octets are called whose charset nobody has told (RFC 1428 section 3)."""

MAX_ENCODED_WORD_OCTETS = 75
"""RFC 2047 section 2."""

MAX_DOMAIN_OCTETS = 255
"""RFC 1035 section 2.3.4; what is longer in UTF-8 is no domain, and would cost time."""

INVALID_DOMAIN = b".invalid"
"""Under it nobody has an address (RFC 2606 section 2), so no reply goes to somebody else."""

ADDRESS_FIELDS = frozenset(
    prefix + name for prefix in (b"", b"resent-") for name in (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
) | {b"return-path", b"delivered-to", b"x-original-to", b"envelope-to", b"errors-to", b"disposition-notification-to"}
"""Fields whose value is addresses."""

_FIELD_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_CHARSET = re.compile(rb'\bcharset[ \t]*=[ \t]*"?([A-Za-z0-9_-]{1,40})', re.IGNORECASE)
_SINGLE_OCTETS = re.compile(r"iso-8859-([1-9]|1[0-6])|windows-125[0-8]|koi8-[ru]|tis-620", re.IGNORECASE)
_MULTIPLE_OCTETS = re.compile(r"gb2312|gbk|gb18030|big5|euc-jp|euc-kr|shift_jis", re.IGNORECASE)
_WORD_OR_BLANKS = re.compile(rb"[ \t]+|[^ \t]+")
_ADDRESS_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|<[^>]*>?|[ \t]+|[(),;:]|[^ \t(),;:"<]+', re.DOTALL)
_PARAMETER = re.compile(
    rb"(?<![A-Za-z0-9!#$&+.^_`|~-])([A-Za-z0-9!#$&+.^_`|~-]+)=(\"(?:[^\"\\]|\\.)*\"|[^ \t;\"]+)", re.DOTALL
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS_AND_DIGITS = string.ascii_letters + string.digits


def _spellings(escape: bytes, safe: str) -> list[bytes]:
    """Return what to write for each octet: itself, or its number behind an escape character."""
    kept = safe.encode("ascii")
    return [b"%c" % octet if octet in kept else b"%b%02X" % (escape, octet) for octet in range(0x100)]


_Q = _spellings(b"=", _LETTERS_AND_DIGITS + "!*+-/")  # what may stand for itself even in a phrase (RFC 2047 section 5)
_Q[0x20] = b"_"
_Q_OCTETS = list(map(len, _Q))
_PERCENT = _spellings(b"%", _LETTERS_AND_DIGITS + "!#$&+-.^_`|~")
_BEYOND_ASCII = _spellings(b"=", "".join(map(chr, range(0x80))))


def declared_charset(header: bytes) -> str:
    """Return the charset that a header names for its message, if its octets can stand for it in a header too."""
    found = _CHARSET.search(header)
    charset = found.group(1).decode("ascii") if found else ""
    is_known = _SINGLE_OCTETS.fullmatch(charset) or _MULTIPLE_OCTETS.fullmatch(charset)
    return charset if is_known else UNKNOWN_CHARSET


def field_in_ascii(field: bytes, charset: str) -> bytes:
    """Return a header field in ASCII that says the same.

    Args:
        field: With its folded lines, and CRLF at the end of each.
        charset: Of what is not UTF-8.
    """
    name = _FIELD_NAME.match(field)
    start = name.end() if name else 0
    value = field[start:].removesuffix(b"\r\n").replace(b"\r\n", b"")
    kind = name.group(1).lower() if name else b""
    encoder = _Encoder(value, charset)
    if kind in ADDRESS_FIELDS:
        value = encoder.addresses(value)
    elif kind.startswith(b"content-"):
        value = encoder.unstructured(encoder.parameters(value))
    else:
        value = encoder.unstructured(value)
    return field[:start] + value + b"\r\n"


class _Encoder:
    """Encodes what is in one field."""

    def __init__(self, value: bytes, charset: str) -> None:
        """Find out what the octets of the field stand for: UTF-8, what its message declares, or nobody knows."""
        if _is_text(value, "utf-8"):
            charset = "utf-8"
        elif _MULTIPLE_OCTETS.fullmatch(charset) and not _is_text(value, charset):
            charset = UNKNOWN_CHARSET
        self._charset = charset
        self._has_single_octets = charset == UNKNOWN_CHARSET or _SINGLE_OCTETS.fullmatch(charset) is not None

    def unstructured(self, value: bytes) -> bytes:
        """Encode the words that need it."""
        return b"".join(self._with_runs_encoded(found.group() for found in _WORD_OR_BLANKS.finditer(value)))

    def addresses(self, value: bytes) -> bytes:
        """Encode names and comments, and what of the addresses themselves needs it."""
        tokens = (_address_token(found.group()) for found in _ADDRESS_TOKEN.finditer(value))
        return b"".join(self._with_runs_encoded(tokens))

    def parameters(self, value: bytes) -> bytes:
        """Encode the parameters of a MIME field that need it (RFC 2231 section 4)."""
        encoded = bytearray()  # grows; a substitution by the module re would need ten times the memory
        position = 0
        for found in _PARAMETER.finditer(value):
            if not found.group().isascii():
                encoded += value[position : found.start()] + self._parameter(*found.groups())
                position = found.end()
        return bytes(encoded + value[position:])

    def _parameter(self, name: bytes, value: bytes) -> bytes:
        plain = _QUOTED_PAIR.sub(rb"\1", value[1:-1]) if value.startswith(b'"') else value
        return b"%b*=%b''%b" % (name, self._charset.encode("ascii"), _spelled(plain, _PERCENT))

    def _with_runs_encoded(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the parts; those beyond ASCII that only blanks part are encoded as one, since such blanks are lost."""
        run = bytearray()
        blanks = b""
        for part in parts:
            if not part.isascii():
                run += blanks + part
                blanks = b""
            elif run and not part.strip(b" \t"):
                blanks += part
            else:
                if run:
                    yield self._encoded(bytes(run))
                yield blanks + part
                run, blanks = bytearray(), b""
        if run:
            yield self._encoded(bytes(run))
        yield blanks

    def _encoded(self, text: bytes) -> bytes:
        """Return encoded-words in the shorter of the two encodings, each with whole characters."""
        is_q = sum(map(_Q_OCTETS.__getitem__, text)) <= 4 * -(-len(text) // 3)
        frame = b"=?%b?%b?" % (self._charset.encode("ascii"), b"q" if is_q else b"b")
        room = MAX_ENCODED_WORD_OCTETS - len(frame) - len(b"?=")
        if not is_q:
            room = room // 4 * 3
        words = [bytearray()]
        left = room
        for character in self._characters(text):
            needed = sum(map(_Q_OCTETS.__getitem__, character)) if is_q else len(character)
            if needed > left:
                words.append(bytearray())
                left = room
            words[-1] += character
            left -= needed
        return b"\r\n ".join(frame + (_spelled(word, _Q) if is_q else base64.b64encode(word)) + b"?=" for word in words)

    def _characters(self, text: bytes) -> Iterator[bytes]:
        """Yield the octets of each character."""
        if self._has_single_octets:
            return (text[at : at + 1] for at in range(len(text)))
        return (character.encode(self._charset) for character in text.decode(self._charset))


def _is_text(octets: bytes, charset: str) -> bool:
    """Tell whether octets are text in a charset, so that each character can be told from the next."""
    try:
        return octets.decode(charset).encode(charset) == octets
    except (UnicodeError, LookupError):
        return False


def _spelled(octets: bytes | bytearray, spellings: Sequence[bytes]) -> bytes:
    spelled = bytearray()  # grows; a join would need ten times the memory
    for octet in octets:
        spelled += spellings[octet]
    return bytes(spelled)


def _address_token(token: bytes) -> bytes:
    """Return a part of an address field as it can stand alone, or as it is to be encoded."""
    if token.isascii():
        return token
    if token.startswith(b"<"):
        return b"<" + _address(token.strip(b"<>")) + b">"
    if token.startswith(b'"'):
        return _QUOTED_PAIR.sub(rb"\1", token.strip(b'"'))
    return _address(token) if b"@" in token else token


def _address(address: bytes) -> bytes:
    """Return an address in ASCII: the same one if only its domain goes beyond, else one that nobody has.

    Where the local part goes beyond ASCII there is no other way to write it; its octets can still be read.
    """
    local, at, domain = address.rpartition(b"@")
    ascii_domain = _ascii_domain(domain)
    if at and local.isascii() and ascii_domain:
        return local + at + ascii_domain
    readable = _spelled(address, _BEYOND_ASCII)
    return readable + INVALID_DOMAIN if at else readable


def _ascii_domain(domain: bytes) -> bytes:
    """Return a domain with A-labels (RFC 5890 section 2.3.2.1); nothing when it has none."""
    labels: list[bytes] = []
    if len(domain) > MAX_DOMAIN_OCTETS:
        return b""
    for label in domain.split(b"."):
        try:
            text = unicodedata.normalize("NFC", label.decode("utf-8").lower())
            labels.append(label if label.isascii() else b"xn--" + text.encode("punycode"))
        except (UnicodeError, LookupError):
            return b""
    return b".".join(labels)
