"""What is said in words: complete in every language, and no more than a client can take."""

from __future__ import annotations

import ast
import inspect
import re
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import popframe.engine
from popframe import IN_BOTH, Command, CommandContext, Refusal, Reply, TemporaryFailure
from popframe.config import Pop3Settings
from popframe.engine import Negotiated, Policy, language_tags, wire
from popframe.engine.speech import CATALOGUE, English, Speech
from popframe.engine.speech.catalogue import matching
from popframe.model import Tls
from popframe.server.scoreboard import TooManyConnections
from popframe.testing.engine_server import EngineTransport

Connect = Callable[..., EngineTransport]

NOT_OVERRIDDEN = {"refusal", "in_ascii"}
NOT_SAID = {"tag", "name", "refusals", "ascii_letters"}
NAMES = sorted(name for name in vars(English) if not name.startswith("_") and name not in NOT_OVERRIDDEN)

LARGE = 10**19
"""More messages, and more octets, than there are."""

each_language = pytest.mark.parametrize("texts", CATALOGUE.values(), ids=list(CATALOGUE))


def said(texts: English) -> Iterator[str]:
    """Yield every text of a language, with large numbers where there are numbers."""
    for name in NAMES:
        if name not in NOT_SAID:
            text = getattr(texts, name)
            yield text if isinstance(text, str) else text(*[LARGE] * len(inspect.signature(text).parameters))
    yield from texts.refusals.values()


def refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    """Yield every refusal of the server itself."""
    if kind.__module__.startswith("popframe."):
        yield kind
    for narrower in kind.__subclasses__():
        yield from refusals(narrower)


# --- the catalogue


@each_language
def test_every_language_has_every_text(texts: English) -> None:
    """U-026: with the same parameters; nothing is said in English by oversight."""
    assert issubclass(type(texts), English)
    own = vars(type(texts))
    assert [name for name in NAMES if name not in own] == []
    assert [name for name in own if not name.startswith("_") and name not in vars(English)] == []
    for name in NAMES:
        of_english, of_this = getattr(English, name), own[name]
        assert type(of_this) is type(of_english)
        if inspect.isfunction(of_english):
            assert inspect.signature(of_this) == inspect.signature(of_english)
            assert of_this.__doc__ == of_english.__doc__


@each_language
def test_every_refusal_is_said_in_every_language(texts: English) -> None:
    """U-026: those of the server itself; a plugin's own words are the plugin's."""
    kinds = set(refusals())
    assert TooManyConnections in kinds

    unsaid = [kind.__name__ for kind in kinds if kind.wire_text not in texts.refusals]
    assert unsaid == [] or texts.tag == "en"
    assert set(texts.refusals) <= {kind.wire_text for kind in kinds}


@each_language
def test_numbers_are_in_the_texts(texts: English) -> None:
    """Each parameter stands in the text, and the order is the same as in English."""
    for name in NAMES:
        text = getattr(texts, name)
        if inspect.ismethod(text):
            numbers = list(range(71, 71 + len(inspect.signature(text).parameters)))
            assert [int(number) for number in re.findall(r"\d+", text(*numbers))] == numbers, name


@each_language
def test_a_text_can_be_said_whole(texts: English) -> None:
    """U-030, U-031, P-004: printable, not taken for a response code, and short enough behind the longest code."""
    for text in said(texts):
        assert text.isprintable()
        assert text == text.strip()
        assert not text.startswith("[")
        assert texts.in_ascii(text).isascii()
        line = wire.utf8_status_line(Reply(text, is_ok=False, code="LOGIN-DELAY"))
        assert line.endswith(text.encode() + b"\r\n")
        assert len(line) <= 512


@each_language
def test_a_language_is_named_as_the_list_wants_it(texts: English) -> None:
    """U-025: a tag, and a description in the language itself (RFC 6856 section 3.2)."""
    assert re.fullmatch(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*( .+)?", f"{texts.tag} {texts.name}")


def test_english_is_ascii() -> None:
    """U-022: what is said to everybody who has not asked for more."""
    assert all(text.isascii() for text in said(English()))


def test_a_site_can_prefer_every_language() -> None:
    """U-028: and no other."""
    assert Pop3Settings.model_json_schema()["properties"]["language"]["enum"] == list(language_tags())


@pytest.mark.parametrize("path", sorted(Path(popframe.engine.__path__[0]).rglob("*.py")), ids=lambda path: path.name)
def test_no_text_stands_outside_the_catalogue(path: Path) -> None:
    """U-026: a reply's text is none that was written where the reply is made."""
    replies = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reply" and node.args
    ]
    written = [
        constant.value
        for node in replies
        for constant in ast.walk(node.args[0])
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    ]

    assert [text for text in written if re.search("[A-Za-z]", text)] == []


# --- which language


class Swiss(English):
    """Only its tag counts."""

    tag = "de-CH"


@pytest.mark.parametrize(
    ("language_range", "tag"),
    [
        ("de", "de"), ("DE", "de"), ("en", "en"), ("de-CH", None), ("d", None), ("", None), ("*", None), ("en-*", None),
        ("uga", None), ("de-", None), ("\uff44\uff45", None), ("de\n", None),
    ],
)  # fmt: skip
def test_a_language_range_matches_by_basic_filtering(language_range: str, tag: str | None) -> None:
    """U-027, U-029: without regard to case, a tag or what it begins with (RFC 4647 section 3.3.1)."""
    found = matching(language_range)

    assert (found.tag if found else None) == tag


@pytest.mark.parametrize(
    ("language_range", "tag"), [("de", "de-CH"), ("de-ch", "de-CH"), ("DE-CH", "de-CH"), ("de-C", None)]
)
def test_a_range_matches_a_longer_tag(language_range: str, tag: str | None) -> None:
    """U-029: ``de`` means de-CH where there is no other German."""
    found = matching(language_range, {"en": English(), "de-CH": Swiss()})

    assert (found.tag if found else None) == tag


def test_what_was_negotiated_can_be_taken_over() -> None:
    """U-026: a session that goes on in another process speaks as before."""
    first, second = Speech("en"), Speech("en")
    first.use_utf8()
    assert first.choose("de")
    second.take_over(first.negotiated)

    assert first.negotiated == Negotiated(is_utf8=True, language="de")
    assert (second.is_utf8, second.texts.tag) == (True, "de")
    assert second.status_line(Reply("\u00fc")) == "+OK \u00fc\r\n".encode()


def test_tls_makes_utf8_and_lang_forgotten(connect: Connect) -> None:
    """T-009, T-014, H-029, U-020, U-033: somebody on the way may have said it (RFC 2595 section 4)."""
    client = connect([b"Received: so that there is room for encoded words\nSubject: caf\xc3\xa9\n\nx\n"],
                     policy=Policy(offers_tls=True))  # fmt: skip
    assert client.ask("UTF8", "LANG de", "NOPE").endswith(b"-ERR unbekannter Befehl\r\n")
    assert client.ask("STLS").startswith(b"+OK")
    client.session.begin_tls(Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256"))

    assert client.ask("NOPE") == b"-ERR unknown command\r\n"
    client.log_in("alice", "secret")
    assert client.ask("RETR 1").splitlines()[1].isascii()


def test_many_calls_of_lang_leave_nothing_behind(connect: Connect) -> None:
    """H-097: right ones and wrong ones."""
    client = connect(policy=Policy(max_bad_commands=1_000_000))
    lines = ["LANG de", "LANG *", "LANG x", "LANG"] * 250
    client.ask(*lines)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10):
        client.ask(*lines)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert after - before < 20_000


# --- what a client can take


@given(st.text(st.characters(codec="utf-8")), st.booleans(), st.sampled_from(["", "AUTH"]))
def test_no_character_is_cut(text: str, is_ok: bool, code: str) -> None:
    """U-031, P-004: at most 512 octets of UTF-8, and always printable (RFC 1939 section 3)."""
    line = wire.utf8_status_line(Reply(text * 20, is_ok=is_ok, code=code))

    assert len(line) <= 512
    assert line.endswith(b"\r\n")
    assert line[:-2].decode("utf-8").isprintable()


@pytest.mark.parametrize("letter", ["x", "\u00e4", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize("before", range(4))
def test_as_much_is_said_as_fits(letter: str, before: int) -> None:
    """U-031: up to the last character that fits."""
    line = wire.utf8_status_line(Reply("a" * before + letter * 510))

    assert 512 - len(letter.encode()) < len(line) <= 512
    line.decode("utf-8")


@given(st.text(), st.booleans(), st.sampled_from(["", "AUTH"]))
def test_before_it_asks_a_client_gets_ascii(text: str, is_ok: bool, code: str) -> None:
    """U-022, P-004: whatever a plugin may say."""
    line = wire.status_line(Reply(text, is_ok=is_ok, code=code))

    assert re.fullmatch(rb"(\+OK|-ERR) [ -~]{0,508}\r\n", line)


class OwnWords(TemporaryFailure):
    """A plugin's own refusal."""

    wire_text = "caf\u00e9 is closed"


def plugin_command(context: CommandContext, arguments: Sequence[str]) -> Reply:
    """Greet in the language that is spoken; refuse when asked to."""
    if arguments:
        raise OwnWords("why")
    return Reply({"de": "gr\u00fc\u00df Gott"}.get(context.language, "hello, \u00e9tranger"))


def test_a_plugin_says_what_it_wants_in_the_language_that_is_spoken(connect: Connect) -> None:
    """U-022, U-026: its texts pass as they are once the client takes UTF-8."""
    client = connect(commands=[Command("XHELLO", plugin_command, IN_BOTH, arity=range(2))])

    assert client.ask("XHELLO", "XHELLO x") == b"+OK hello, ?tranger\r\n-ERR [SYS/TEMP] caf? is closed\r\n"
    assert client.ask("UTF8", "XHELLO").endswith("+OK hello, \u00e9tranger\r\n".encode())
    assert client.ask("LANG de", "XHELLO", "XHELLO x").endswith(
        "+OK gr\u00fc\u00df Gott\r\n-ERR [SYS/TEMP] caf\u00e9 is closed\r\n".encode()
    )


def test_a_site_s_language_in_ascii_spells_what_it_has_no_letters_for(connect: Connect) -> None:
    """U-022: as people do."""
    client = connect([b"x\n"], policy=Policy(language="de"))
    client.log_in("alice", "secret")

    assert client.ask("DELE 1", "QUIT") == b"+OK Nachricht 1 geloescht\r\n+OK auf Wiedersehen, 0 Nachrichten uebrig\r\n"
