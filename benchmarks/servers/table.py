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
    if work.holds_memory:
        columns = f"{'KiB more':>10} {'ratio':>7} {'KiB all':>10} {'ratio':>7}   KiB more, least to most"
    else:
        columns = f"{'CPU ms':>10} {'ratio':>7} {'wall ms':>10} {'ratio':>7}   CPU ms, least to most"
    reference = reference_of(results)
    lines = [f"{work.number} {work.name}: {work.title}", f"  {'':16} {columns}"]
    lines += [f"  {result.server:16} {_row(result, reference, work)}" for result in results]
    return "\n".join(lines)


def summary(every: Sequence[tuple[Work, Sequence[Result]]]) -> str:
    """Return a table in Markdown of all work: what popframe takes, and the ratio of each other server to it."""
    names = [result.server for _, results in every[:1] for result in results if result.server != REFERENCE]
    lines = ["| work | " + " | ".join((REFERENCE, *names)) + " |", "|---" * (len(names) + 2) + "|"]
    for work, results in every:
        reference = reference_of(results)
        own = _main_values(reference, work)
        cells = [f"{median(own):.1f} {'KiB' if work.holds_memory else 'ms'}" if own else "-"]
        cells += [
            "failed" if result.failure else _ratio(_main_values(result, work), own)
            for result in results
            if result.server != REFERENCE
        ]
        lines.append(f"| {work.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reference_of(results: Sequence[Result]) -> Result:
    """Return popframe's result; an empty one if it was not measured."""
    return next((result for result in results if result.server == REFERENCE), Result(REFERENCE))


def write_json(path: Path, versions: dict[str, str], every: Sequence[tuple[Work, Sequence[Result]]]) -> None:
    """Write everything to a file: seconds and octets, each round."""
    works = [
        {"work": work.name, "title": work.title, "results": [dataclasses.asdict(result) for result in results]}
        for work, results in every
    ]
    path.write_text(json.dumps({"machine": machine(), "versions": versions, "works": works}, indent=1) + "\n")


def _row(result: Result, reference: Result, work: Work) -> str:
    """Return what a server's line of a table says."""
    if result.failure:
        return f"failed: {result.failure}"
    values = _main_values(result, work)
    ratio = _ratio(values, _main_values(reference, work))
    second, scale = (result.whole_pss_octets, 1 / KIBIBYTE) if work.holds_memory else (result.wall_seconds, 1000.0)
    second_reference = reference.whole_pss_octets if work.holds_memory else reference.wall_seconds
    return (
        f"{median(values):10.2f} {ratio:>7} {median(second) * scale:10.2f} {_ratio(second, second_reference):>7}"
        f"   {min(values):.2f} to {max(values):.2f}"
    )


def _main_values(result: Result, work: Work) -> list[float]:
    """Return what is compared first: memory in KiB, or CPU time in ms."""
    if work.holds_memory:
        return [octets / KIBIBYTE for octets in result.pss_octets]
    return [seconds * 1000 for seconds in result.cpu_seconds]


def _ratio(values: Sequence[float], reference: Sequence[float]) -> str:
    """Return the ratio of the medians; a dash where there is nothing to compare with."""
    if not reference or median(reference) <= 0:
        return "-"
    return f"{median(values) / median(reference):.2f}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
