"""Fuzzing store_mbox with atheris: any octets as a spool, an index, a journal; ``make fuzz`` runs it.

Usage: python -m tests.plugins.store_mbox.fuzz_mbox [--seconds N] [--folder FOLDER] [FILE …]

Inputs that reach something new are kept in FOLDER/corpus, and the next
run begins with them; one that breaks a property is kept in FOLDER. With FILEs these alone are tried again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import atheris
from atheris.import_hook import instrument_imports

with instrument_imports(include=["popframe_store_mbox"]):  # before anything else imports it
    from popframe_store_mbox import Settings, StoreMbox

from popframe import IncomingMessage

from .fuzz_input import decoded, encoded
from .mbox_pieces import DATE, FIELDS, FROM, FROM_LINES, INTERNAL_DATA, LENGTH, LINE_ENDS, NEAR_FROM_LINES, TEXTS
from .properties import PROPERTIES
from .spool_room import ALICE, Case, Damage

CHECKOUT = Path(__file__).resolve().parents[3]
ARCHIVE = CHECKOUT.parent / "shared" / "mail" / "list.mbox"
"""A mailing list beside the checkout, if there is one."""

MAX_OCTETS = 12_000
"""Longest input: more than twice of what the small limits divide."""

RECEIVED = datetime(2026, 1, 5, 9, tzinfo=UTC)

MAX_TOKEN_OCTETS = 64
"""Longest entry of a dictionary of libFuzzer."""

TIMEOUT_SECONDS = 20
"""One input takes some milliseconds."""


def main() -> None:
    """Look for inputs that break a property until the time is over or one is found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=1200, help="how long to look")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".fuzz", help="where what is found is kept")
    parser.add_argument("files", nargs="*", help="inputs that are to be tried again")
    arguments = parser.parse_args()
    options = [f"-max_len={MAX_OCTETS}", f"-timeout={TIMEOUT_SECONDS}"]
    if arguments.files:
        run = [*options, *arguments.files]
    else:
        corpus, seeds, dictionary = (arguments.folder / name for name in ("corpus", "seeds", "dictionary"))
        corpus.mkdir(parents=True, exist_ok=True)
        write_seeds(seeds)
        dictionary.write_text("".join(map(dictionary_line, tokens())), "ascii")
        limits = [f"-max_total_time={arguments.seconds}", f"-artifact_prefix={arguments.folder}/"]
        run = [*options, *limits, f"-dict={dictionary}", "-print_final_stats=1", str(corpus), str(seeds)]
    logging.disable()  # what sessions have to say of damaged files, thousands of times
    atheris.Setup([sys.argv[0], *run], try_one)
    atheris.Fuzz()


def try_one(octets: bytes) -> None:
    """Try one input."""
    check, case = decoded(octets)
    try:
        check(case)
    except BaseException:
        print(f"\n{check.__name__}({case!r})", file=sys.stderr)  # goes into a test as it is
        raise


def write_seeds(folder: Path) -> None:
    """Write the first inputs: each property with each spool."""
    folder.mkdir(parents=True, exist_ok=True)
    damages = (Damage(), Damage(flips=((5000, 1),)), Damage(keep=5000), Damage(keep=0, tail=FROM))
    for number, (spool, check, damage) in enumerate(product(spools(), PROPERTIES, damages)):
        case = Case(
            spool=spool,
            appended=FROM + b"Subject: later\n\nlater\n\n",
            marks=0b0110,
            damage=damage,
            crash_at=2 + number % 7,
            is_damaged_early=number % 5 == 0,
            is_settled=number % 2 == 0,
            is_small=number % 3 != 0,
        )
        (folder / f"{number:03}").write_bytes(encoded(check, case))


def spools() -> list[bytes]:
    """Return spools: one that the plugin itself has delivered to, odd ones, and pieces of real mail."""
    with tempfile.TemporaryDirectory() as folder:
        store = StoreMbox(Settings(spool_dir=Path(folder)))
        for number in range(5):
            text = b"Subject: %d\r\n\r\nFrom here on\r\n.\r\n" % (number // 2)
            store.popframe_deliver_message(ALICE, IncomingMessage("bob@example.org", RECEIVED, text))
        delivered = Path(folder, "alice").read_bytes()
    protected = FROM + b"Subject: a\n" + LENGTH + b"%d\n\n" % len(FROM) + FROM + b"\n" + FROM + b"\nb"
    odd = [INTERNAL_DATA + delivered, protected, b"".join(FROM_LINES) + b"\n".join(NEAR_FROM_LINES), b"\n", b""]
    real = ARCHIVE.read_bytes().split(b"\n\n\nFrom ") if ARCHIVE.exists() else []
    shown = [b"\n\n\nFrom ".join([b"", *real[at : at + 3]]).lstrip() for at in range(0, len(real), 9)]
    return [delivered, *odd, *(spool for spool in shown if len(spool) < MAX_OCTETS // 2)]


def tokens() -> list[bytes]:
    """Return what libFuzzer puts into inputs by itself."""
    pieces = [*FROM_LINES, *NEAR_FROM_LINES, *FIELDS, *LINE_ENDS, *TEXTS, LENGTH, b"From ", DATE]
    return [piece for piece in pieces if len(piece) <= MAX_TOKEN_OCTETS]


def dictionary_line(token: bytes) -> str:
    """Return a token as libFuzzer reads it."""
    return '"' + "".join(f"\\x{octet:02x}" for octet in token) + '"\n'


if __name__ == "__main__":
    main()
