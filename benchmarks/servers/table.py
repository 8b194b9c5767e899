"""The results, as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.servers.measuring import Result
from benchmarks.servers.work import Work

REFERENCE = "popframe"
"""Its row is 1.00."""

KIBIBYTE = 1024


def machine() -> dict[str, str]:
    """Return what must be known of the machine to compare numbers."""
    model = next((line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {
        "cores": str(os.cpu_count()),
        "processor": model,
        "kernel": platform.release(),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def table(work: Work, results: Sequence[Result]) -> str:
    """Return the table of one kind of work: medians, ratios to popframe, and the CPU time of all rounds."""
    lines = [f"{work.number} {work.name}: {work.title}"]
    reference = next((result for result in results if result.server == REFERENCE), Result(REFERENCE))
    if work.holds_memory:
        lines.append(f"  {'':16} {'KiB PSS':>10} {'ratio':>7}   least to most")
    else:
        lines.append(f"  {'':16} {'CPU ms':>10} {'ratio':>7} {'wall ms':>10} {'ratio':>7}   CPU, least to most")
    for result in results:
        if result.failure:
            lines.append(f"  {result.server:16} failed: {result.failure}")
        elif work.holds_memory:
            kibibytes = [octets / KIBIBYTE for octets in result.pss_octets]
            ratio = _ratio(result.pss_octets, reference.pss_octets)
            lines.append(f"  {result.server:16} {median(kibibytes):10.0f} {ratio:>7}   {_span(kibibytes, 0)}")
        else:
            cpu, wall = ([second * 1000 for second in seconds] for seconds in (result.cpu_seconds, result.wall_seconds))
            cpu_ratio = _ratio(result.cpu_seconds, reference.cpu_seconds)
            wall_ratio = _ratio(result.wall_seconds, reference.wall_seconds)
            lines.append(
                f"  {result.server:16} {median(cpu):10.2f} {cpu_ratio:>7} {median(wall):10.2f} {wall_ratio:>7}"
                f"   {_span(cpu, 2)}"
            )
    return "\n".join(lines)


def write_json(path: Path, versions: dict[str, str], every: Sequence[tuple[Work, Sequence[Result]]]) -> None:
    """Write everything to a file: seconds and octets, each round."""
    works = [
        {"work": work.name, "title": work.title, "results": [dataclasses.asdict(result) for result in results]}
        for work, results in every
    ]
    path.write_text(json.dumps({"machine": machine(), "versions": versions, "works": works}, indent=1) + "\n")


def _ratio(values: Sequence[float], reference: Sequence[float]) -> str:
    """Return the ratio of the medians; a dash where there is nothing to compare with."""
    if not reference or median(reference) <= 0:
        return "-"
    return f"{median(values) / median(reference):.2f}"


def _span(values: Sequence[float], digits: int) -> str:
    """Return the least and the largest."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
