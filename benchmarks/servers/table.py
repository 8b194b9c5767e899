"""The results, as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.servers.measuring import Result
from benchmarks.servers.work import Work

REFERENCE = "popframe"
"""Its row is 1.00."""

LARGE_RATIO = 10
"""From here on nobody wants to read decimals."""

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


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that is compared.

    Attributes:
        name: What it is called.
        unit: In which it is told.
        values: Takes it from a result, one for each round.
    """

    name: str
    unit: str
    values: Callable[[Result], list[float]]


TIMES = (
    Quantity("CPU", "ms", lambda result: [seconds * 1000 for seconds in result.cpu_seconds]),
    Quantity("wall", "ms", lambda result: [seconds * 1000 for seconds in result.wall_seconds]),
)
SIZES = (
    Quantity("more", "KiB", lambda result: [octets / KIBIBYTE for octets in result.pss_octets]),
    Quantity("all", "KiB", lambda result: [octets / KIBIBYTE for octets in result.whole_pss_octets]),
)


def table(work: Work, results: Sequence[Result]) -> str:
    """Return the table of one kind of work: two quantities, their ratios to popframe, and the spread of the first."""
    quantities = quantities_of(work)
    titles = " ".join(f"{f'{quantity.name} {quantity.unit}':>10} {'ratio':>7}" for quantity in quantities)
    lines = [f"{work.number} {work.name}: {work.title}", f"  {'':16} {titles}   {quantities[0].name}, least to most"]
    for result in results:
        if result.failure:
            lines.append(f"  {result.server:16} failed: {result.failure}")
            continue
        cells = " ".join(
            f"{median(quantity.values(result)):10.2f} {ratio(result, results, quantity):>7}" for quantity in quantities
        )
        values = quantities[0].values(result)
        lines.append(f"  {result.server:16} {cells}   {min(values):.2f} to {max(values):.2f}")
    return "\n".join(lines)


def summary(every: Sequence[tuple[Work, Sequence[Result]]], which: int) -> str:
    """Return a table in Markdown of all work: what popframe takes, and the ratios of the other servers to it.

    Args:
        every: The results.
        which: 0 for the first quantity of each kind of work, 1 for the second.
    """
    names = [result.server for _, results in every[:1] for result in results if result.server != REFERENCE]
    lines = ["| work | " + " | ".join((REFERENCE, *names)) + " |", "|---" * (len(names) + 2) + "|"]
    for work, results in every:
        quantity = quantities_of(work)[which]
        own = quantity.values(reference_of(results))
        cells = [f"{median(own):.1f} {quantity.unit}" if own else "-"]
        cells += [
            "failed" if result.failure else ratio(result, results, quantity)
            for result in results
            if result.server != REFERENCE
        ]
        lines.append(f"| {work.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def quantities_of(work: Work) -> tuple[Quantity, Quantity]:
    """Return what is compared in a kind of work."""
    return SIZES if work.holds_memory else TIMES


def reference_of(results: Sequence[Result]) -> Result:
    """Return popframe's result; an empty one if it was not measured."""
    return next((result for result in results if result.server == REFERENCE), Result(REFERENCE))


def ratio(result: Result, results: Sequence[Result], quantity: Quantity) -> str:
    """Return the ratio of a median to popframe's; a dash where there is nothing to compare with."""
    reference = quantity.values(reference_of(results))
    if not reference or median(reference) <= 0:
        return "-"
    value = median(quantity.values(result)) / median(reference)
    return f"{value:.2f}" if value < LARGE_RATIO else f"{value:.0f}"


def write_json(path: Path, versions: dict[str, str], every: Sequence[tuple[Work, Sequence[Result]]]) -> None:
    """Write everything to a file: seconds and octets, each round."""
    works = [
        {"work": work.name, "title": work.title, "results": [dataclasses.asdict(result) for result in results]}
        for work, results in every
    ]
    path.write_text(json.dumps({"machine": machine(), "versions": versions, "works": works}, indent=1) + "\n")


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
