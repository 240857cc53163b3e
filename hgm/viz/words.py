"""What pictures say about a tree in words."""

from __future__ import annotations

import numpy as np

from hgm.tree.tree import Tree

__all__ = ["counted", "level_lines", "level_words", "prior_words", "short", "title"]


def counted(count: int, thing: str) -> str:
    """A number of things: ``1 leaf``, ``1,024 leaves``."""
    if count == 1:
        return f"1 {thing}"
    many = {"leaf": "leaves", "matrix": "matrices"}.get(thing, thing + "s")
    return f"{count:,} {many}"


def title(tree: Tree) -> str:
    """One line about the tree."""
    parts = [
        counted(len(tree), "variable"),
        counted(len(tree.leaves), "leaf"),
        counted(tree.factors, "factor"),
        counted(len(tree.potentials), "potential"),
        counted(sum(p.size for p in tree.potentials), "weight"),
    ]
    forest = [] if len(tree.roots) == 1 else [counted(len(tree.roots), "tree")]
    return ", ".join(forest + parts)


def level_words(tree: Tree, level: int) -> str:
    """How many variables a level has, and of how many states: ``8×8 variables, 16 states``."""
    nodes = tree.at_level(level)
    grid = tree.grid[level] if tree.grid is not None else ()
    wide = len(grid) == 2 and len(nodes) > 1
    count = f"{grid[0]:,}×{grid[1]:,} variables" if wide else counted(len(nodes), "variable")
    return f"{count}, {_states(tree.cardinality[nodes])}"


def _states(cardinality: np.ndarray) -> str:
    low, high = int(cardinality.min()), int(cardinality.max())
    return counted(high, "state") if low == high else f"{low} to {high} states"


def prior_words(tree: Tree, level: int) -> str:
    """How many factors over one variable a level has: ``a prior``; empty if it has none."""
    count = int((tree.level[tree.parent[np.diff(tree.scope_ptr) == 1]] == level).sum())
    return "" if count == 0 else "a prior" if count == 1 else counted(count, "prior")


def level_lines(tree: Tree) -> list[str]:
    """A line about every level, neighbours that are alike in one line."""
    lines: list[tuple[int, int, str]] = []
    for level in range(tree.depth + 1):
        words = level_words(tree, level)
        if lines and lines[-1][2] == words:
            lines[-1] = (lines[-1][0], level, words)
        else:
            lines.append((level, level, words))
    if len(lines) > 12:
        most = counted(int(np.diff(tree.level_ptr).max()), "variable")
        return [f"levels 0 to {tree.depth:,}: up to {most} each, {_states(tree.cardinality)}"]
    return [f"level {a}: {words}" if a == b else f"levels {a:,} to {b:,}: {words} each" for a, b, words in lines]


def short(name: object, most: int = 18) -> str:
    """A name on one line, cut to `most` characters."""
    name = " ".join(str(name).split())
    return name if len(name) <= most else name[: most - 1] + "…"
