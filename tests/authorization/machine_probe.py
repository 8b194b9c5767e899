"""A program for tests: asks the machine, and the rules, and prints what they say."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from popframe import Account, Peer, TemporaryFailure
from popframe.authorization.groups import GroupLists
from popframe.authorization.shells import listed_shells


def shells_of_the_c_library() -> list[str]:
    """Return what getusershell(3) gives."""
    library = ctypes.CDLL(None)
    library.getusershell.restype = ctypes.c_char_p
    found: list[str] = []
    while (shell := library.getusershell()) is not None:
        found.append(shell.decode("utf-8", "surrogateescape"))
    return found


def main() -> None:
    """Answer one question."""
    match sys.argv[1:]:
        case ["shells"]:
            print(sorted(set(shells_of_the_c_library())))
            print(sorted(listed_shells(Path("/etc/shells").read_bytes())))
        case ["groups", username, gid, allowed, denied]:
            rule = GroupLists(allowed.split() or None, denied.split())
            try:
                print(rule.objection(Peer(""), Account(username, uid=4000, gid=int(gid))))
            except TemporaryFailure as error:
                print(f"TemporaryFailure: {error}")
        case arguments:
            raise SystemExit(f"unknown question {arguments}")


if __name__ == "__main__":
    main()
