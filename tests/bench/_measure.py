"""Timing with the contenders taking turns, so that their ratios hold on a busy machine; and tables of the results."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

__all__ = ["machine", "measure", "peak_mib", "report", "show", "write_between"]


def measure(contenders: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median time of each contender in milliseconds, all of them called in turn for about `seconds` in total.

    It is the processor's time of this process: with one thread that of the clock, less what other programs took.
    Fast contenders are called several times in a row, and the mean of these calls is one measurement.
    """
    calls = {}
    for name, run in contenders.items():
        run()
        start = time.process_time()
        run()
        calls[name] = max(1, min(100, int(2e-3 / (time.process_time() - start + 1e-6))))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(times))]) < 5:
        for name, run in contenders.items():
            start = time.process_time()
            for _ in range(calls[name]):
                run()
            times[name].append((time.process_time() - start) / calls[name] * 1e3)
    return {name: statistics.median(several) for name, several in times.items()}


def machine() -> str:
    """The processor, the number of cores and the versions, for the head of a table."""
    info = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    cores = 0
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
        cores = sum(line.startswith("processor") for line in lines)
    return (
        f"{model}, {cores or '?'} cores, {torch.backends.cpu.get_cpu_capability()}; torch {torch.__version__}, "
        f"Python {platform.python_version()}, {torch.get_num_threads()} thread"
    )


def peak_mib() -> float:
    """The largest memory this process has had resident, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def show(rows: Sequence[Mapping[str, Any]], markdown: bool = False) -> str:
    """A table with one column per key; numbers with three digits."""
    written = [{key: _number(value) for key, value in row.items()} for row in rows]
    return tabulate(
        written,
        headers="keys",
        tablefmt="github" if markdown else "simple",
        disable_numparse=True,
        colalign=("left", *["right"] * (len(rows[0]) - 1)),
    )


def write_between(path: Path, name: str, text: str) -> None:
    """Put text between the lines ``<!-- name -->`` and ``<!-- /name -->`` of a file."""
    old = path.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    head, rest = old.split(begin)
    path.write_text(head + begin + "\n" + text + "\n\n" + end + rest.split(end)[1])


def _number(value: object) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.0e}"
    if abs(value) < 0.995:
        return f"{value:#.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def report(tables: Mapping[str, Sequence[Mapping[str, Any]]], markdown: Path | None) -> None:
    """Print tables by name, and put each between its lines of a file, if one is given."""
    for name, rows in tables.items():
        print(f"\n{name}\n\n{show(rows)}", flush=True)
        if markdown is not None:
            write_between(markdown, name, show(rows, markdown=True))
