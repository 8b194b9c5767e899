"""The two forms in which ``popframe mbox check`` tells what it found: text for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from popframe_store_mbox.tools.mbox.check import MessageReport
from popframe_store_mbox.tools.mbox.finding import Finding, Kind
from popframe_store_mbox.tools.text import LineWriter, counted, printable


@dataclass(slots=True)
class Summary:
    """All that was found.

    Attributes:
        path: The file, as the user named it.
        size: Its length in octets.
        message_count: How many messages were looked at.
        odd_count: How many of them have something odd.
        octets: The sum of their sizes as they are sent.
        is_odd: Something is odd, within a message or about the file.
        findings: What was found about the file as a whole.
        messages: In how many messages each kind was found.
        counts: How often it was found in all.
    """

    path: str
    size: int
    message_count: int = 0
    odd_count: int = 0
    octets: int = 0
    is_odd: bool = False
    findings: list[Finding] = field(default_factory=list)
    messages: Counter[Kind] = field(default_factory=Counter)
    counts: Counter[Kind] = field(default_factory=Counter)

    def add_message(self, report: MessageReport) -> None:
        """Count what was found about a message."""
        self.message_count += 1
        self.odd_count += report.is_odd
        self.octets += report.octets
        self.is_odd |= report.is_odd
        self.messages.update({finding.kind for finding in report.findings})
        for finding in report.findings:
            self.counts[finding.kind] += finding.count

    def add_findings(self, findings: Iterable[Finding]) -> None:
        """Count what was found about the file."""
        for finding in findings:
            self.findings.append(finding)
            self.is_odd |= finding.kind.is_odd


class Output(Protocol):
    """Where the reports go, in the order of the file, and the summary after them."""

    def write_message(self, report: MessageReport) -> None:
        """Tell about one message."""
        ...

    def write_summary(self, summary: Summary) -> None:
        """Tell about the file."""
        ...


class TextOutput:
    """Text, wrapped where standard output is a terminal."""

    def __init__(self) -> None:
        self._write = LineWriter().write

    def write_message(self, report: MessageReport) -> None:
        """Write three lines and one for each finding."""
        place = f"offset {report.offset}, line {report.line}"
        self._write(f"message {report.number}: {place}, {counted(report.octets, 'octet')} as sent")
        self._write(f"  unique-id {report.uid}")
        self._write(f"  {printable(report.from_line)}")
        for finding in report.findings:
            self._write_finding(finding)
        self._write()

    def write_summary(self, summary: Summary) -> None:
        """Write what the file is, and in how many messages something was found."""
        messages = counted(summary.message_count, "message")
        as_sent = counted(summary.octets, "octet")
        self._write(f"{summary.path}: {messages} with {as_sent} as sent, {summary.odd_count} with something odd")
        for finding in summary.findings:
            self._write_finding(finding)
        for kind in sorted(summary.messages, key=lambda kind: (not kind.is_odd, kind.name)):
            messages, count = counted(summary.messages[kind], "message"), summary.counts[kind]
            in_all = f" ({count} in all)" if count > summary.messages[kind] else ""
            self._write_item(kind, f"{kind.title}: {messages}{in_all}")
        if not summary.is_odd:
            self._write("  nothing odd")

    def _write_finding(self, finding: Finding) -> None:
        self._write_item(finding.kind, f"line {finding.line}: {finding.text}")

    def _write_item(self, kind: Kind, text: str) -> None:
        self._write(f"  {'odd: ' if kind.is_odd else 'note:'} {text}")


class JsonOutput:
    """JSON, one object a line, so that a program need not keep all of it."""

    def write_message(self, report: MessageReport) -> None:
        """Write one object."""
        self._write(
            {
                "message": report.number,
                "offset": report.offset,
                "line": report.line,
                "octets": report.octets,
                "uid": report.uid,
                "from_line": printable(report.from_line),
                "findings": [_as_json(finding) for finding in report.findings],
            }
        )

    def write_summary(self, summary: Summary) -> None:
        """Write the last object, the only one with the key ``summary``."""
        kinds = {
            kind.name: {"odd": kind.is_odd, "messages": count, "count": summary.counts[kind]}
            for kind, count in sorted(summary.messages.items(), key=lambda item: item[0].name)
        }
        self._write(
            {
                "summary": {
                    "path": summary.path,
                    "size": summary.size,
                    "odd": summary.is_odd,
                    "messages": summary.message_count,
                    "odd_messages": summary.odd_count,
                    "octets": summary.octets,
                    "findings": [_as_json(finding) for finding in summary.findings],
                    "kinds": kinds,
                }
            }
        )

    def _write(self, content: dict[str, object]) -> None:
        sys.stdout.write(f"{json.dumps(content)}\n")


def _as_json(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind.name,
        "odd": finding.kind.is_odd,
        "count": finding.count,
        "offset": finding.offset,
        "line": finding.line,
        "text": finding.text,
    }
