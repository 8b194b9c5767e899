"""What goes wrong in mbox files, piece by piece: hypothesis builds files from them, the fuzzer has a dictionary."""

from __future__ import annotations

DATE = b"Mon Jan  5 09:00:00 2026"
FROM = b"From bob@example.org %b\n" % DATE

FROM_LINES = [
    FROM,
    FROM[:-1] + b"\r\n",
    b"From  " + DATE + b"\n",
    b"From " + DATE + b"\n",
    b"From a b c@example.org Mon Jan 05 9:00 2026\n",
    b"From a Mon Jan 5 09:00:00 MET DST 2026 +0100 remote from mail \t\n",
    b"From \0\xff\r " + DATE + b"\n",
    b"From " + b"a" * 990 + b" " + DATE + b"\n",
]
NEAR_FROM_LINES = [
    FROM[:-1],
    FROM[:-1] + b" \r\r\n",
    b">" + FROM,
    b" " + FROM,
    b"From \n",
    b"From bob\n",
    b"From " + b"a" * 1000 + b" " + DATE + b"\n",
    b"From " + b"a" * 2100 + b" " + DATE + b"\n",
    b"From x " + DATE + b" and so on\n",
    b"From x Mon Jan  5 09:0",
]
INTERNAL_SUBJECT = b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
FIELDS = [
    b"Subject: a\n",
    b"Subject: b\r\n",
    b"Status: RO\n",
    b"Status: O\r\n",
    b"X-UIDL: 7\n",
    b"X-Keywords: a\n\tb\n c\n",
    b"x-imapbase: 1 2\n",
    b"X-IMAP: 1 2\n",
    INTERNAL_SUBJECT,
    b" folded\n",
    b"X-Long: " + b"h" * 1490 + b"\n",
    b"X-Longer: " + b"h" * 2900 + b"\r\n",
]
LENGTH = b"Content-Length: "
HUGE_LENGTHS = [4000, 10**17, 10**18, 10**30]
LINE_ENDS = [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n"]
TEXTS = [b".", b".\n", b"..\r\n", b"\0", b"a\n.b\n", b"x" * 70 + b"\n", b"y\n" * 2100, b"\r\n" * 2100, b"z" * 5000]
INTERNAL_DATA = FROM + INTERNAL_SUBJECT + b"X-IMAP: 1 0000000007\nStatus: RO\n\ntext\n\n"
