"""Cells: the pieces of work that a study is made of. Each finished one is a line of a file, so a study can be stopped.

    {"cell": {"tree": "above", "network": "unet", "seed": 3}, "seconds": 121.5, "found": {"excess": [0.02, 0.01]}}

A cell is a dict of plain values, which say all that its result depends on; what is found is a dict of plain values too.
Whoever runs a study again, in the same folder, waits only for the cells that are not in its file.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hgm.errors import HgmError
from hgm.files.whole import checked_path

__all__ = ["FILE", "Cell", "Finished", "finished"]

FILE = "cells.jsonl"

Cell = dict[str, Any]


class Finished(NamedTuple):
    """A cell, what was found, and how many seconds of a processor that took."""

    cell: Cell
    found: dict[str, Any]
    seconds: float


def finished(
    cells: Iterable[Cell],
    measure: Callable[[Cell], dict[str, Any]],
    out: str | os.PathLike[str],
    workers: int = 2,
) -> list[Finished]:
    """Measure the cells that are not in the file of a folder yet, and give all, in their order.

    Args:
        cells: each a dict that JSON can hold, no two the same.
        measure: a function of a module, which finds a dict that JSON can hold: it runs in a process of its own, with
            one thread.
        out: the folder; made if needed. Its file ``cells.jsonl`` gets a line for each cell, as soon as that is done.
        workers: processes.

    Raises:
        HgmError: for a file that holds something else; and if a cell fails, with its name (what is done is kept).
    """
    folder = checked_path(out, "the folder of a study")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {_key(cell): cell for cell in cells}
    done = _read(folder / FILE)
    left = [cell for key, cell in wanted.items() if key not in done]
    if not left:
        return [done[key] for key in wanted]
    print(f"{len(wanted) - len(left)} of {len(wanted)} cells are done", flush=True)
    with multiprocessing.get_context("spawn").Pool(min(workers, len(left)), torch.set_num_threads, (1,)) as pool:
        for number, result in enumerate(pool.imap_unordered(partial(_measured, measure), left), 1):
            if isinstance(result, str):
                raise HgmError(result)
            _append(folder / FILE, result)
            done[_key(result.cell)] = result
            what = " ".join(f"{name}={value}" for name, value in result.cell.items())
            print(f"{number + len(wanted) - len(left)}/{len(wanted)} {what} ({result.seconds:.0f} s)", flush=True)
    return [done[key] for key in wanted]


def _measured(measure: Callable[[Cell], dict[str, Any]], cell: Cell) -> Finished | str:
    """A finished cell; or, of one that fails, why."""
    start = time.process_time()
    try:
        found = json.loads(json.dumps(measure(cell), allow_nan=False))  # as it will be read
    except Exception as error:  # whatever it is, it is told with the name of its cell
        return f"the cell {_key(cell)} failed: {type(error).__name__}: {error}"
    return Finished(cell, found, round(time.process_time() - start, 2))


def _key(cell: Cell) -> str:
    return json.dumps(cell, sort_keys=True)


def _append(path: Path, result: Finished) -> None:
    line = {"cell": result.cell, "seconds": result.seconds, "found": result.found}
    with path.open("ab") as file:
        file.write((json.dumps(line, allow_nan=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> dict[str, Finished]:
    """The finished cells in a file. A last line without an end, which a stop left behind, is cut off."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    done: dict[str, Finished] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            held = json.loads(line)
            result = Finished(dict(held["cell"]), dict(held["found"]), float(held["seconds"]))
        except (ValueError, TypeError, KeyError) as error:
            raise HgmError(f"{path}, line {number}, is no finished cell; remove the line to measure it anew") from error
        done[_key(result.cell)] = result
    return done
