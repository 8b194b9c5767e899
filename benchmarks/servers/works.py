"""Which work is done, with which mail."""

from __future__ import annotations

from benchmarks.servers.spool import MEGABYTE, Spool
from benchmarks.servers.work import (
    Work,
    check_listings,
    check_nothing,
    check_retr,
    check_stat,
    dele,
    listings,
    retr_all,
    stat,
)

SMALL = Spool("small", 10, 4000)
READ = Spool("read", 2500, 4000)
ONE = Spool("one", 1, 20 * MEGABYTE)


def works(sessions: int, megabytes: int, messages: int) -> tuple[Work, ...]:
    """Return every kind of work.

    Args:
        sessions: How many logins are measured in a round.
        megabytes: Size of the large spool.
        messages: How many are in it.
    """
    large = Spool("large", messages, megabytes * MEGABYTE // messages)
    about = f"{megabytes} MB, {messages} messages"
    return (
        Work(1, "login", "login, STAT, QUIT; 10 messages", SMALL, stat, check_stat, sessions=sessions, warm=20),
        Work(2, "unchanged", f"LIST, UIDL; {about}; unchanged", large, listings, check_listings, sessions=10, warm=2),
        Work(
            3,
            "new-mail",
            f"LIST, UIDL; {about}; after a new message",
            large,
            listings,
            check_listings,
            new_mail=True,
            warm=2,
        ),
        Work(4, "first", f"LIST, UIDL; {about}; first login", large, listings, check_listings, fresh=True, warm=0),
        Work(5, "retr", "RETR of 2500 messages of 4 KB", READ, retr_all, check_retr, fresh=True),
        Work(5, "retr-large", "RETR of a message of 20 MB", ONE, retr_all, check_retr, fresh=True),
        Work(
            6,
            "dele-half",
            f"DELE of every second one; {about}",
            large,
            dele(lambda count: range(1, count + 1, 2)),
            check_nothing,
            fresh=True,
            left=lambda count: list(range(2, count + 1, 2)),
        ),
        Work(
            6,
            "dele-all",
            f"DELE of all; {about}",
            large,
            dele(lambda count: range(1, count + 1)),
            check_nothing,
            fresh=True,
            left=lambda _: [],
        ),
        Work(
            6,
            "dele-newest",
            f"DELE of the newest; {about}",
            large,
            dele(lambda count: range(count, count + 1)),
            check_nothing,
            fresh=True,
            left=lambda count: list(range(1, count)),
        ),
        Work(7, "memory", f"memory after LIST, UIDL; {about}", large, listings, check_listings, holds_memory=True),
    )
