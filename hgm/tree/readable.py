"""What a tree tells a reader: its levels as a table, its variables as an indented text, one factor with its labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from hgm.errors import BadSpec
from hgm.tree.labels import Label
from hgm.tree.potential import Potential
from hgm.tree.showing import Shown, TextTable, telling

if TYPE_CHECKING:
    from hgm.tree.tree import Tree

__all__ = ["Factor", "factor_called", "level_table", "outline"]

LINES = 100  # of an outline
LEVELS = 20  # of a table
CHILDREN = 12  # of one variable
NAMES = 4  # of a level, and states of a variable
ENTRIES = 200  # of a table that is written out


@dataclass(frozen=True, repr=False)
class Factor(Shown):
    """One factor of a tree, with the names of its variables. `print`, and a notebook, show its table.

    Attributes:
        number: its number in the tree.
        scope: the names of its variables, in the order of the table's axes.
        states: what their states are called, axis by axis.
        parent: the name of its parent variable; the others are the children.
        potential: its table's kind, weights and name.
    """

    number: int
    scope: tuple[Label, ...]
    states: tuple[tuple[Label, ...], ...]
    parent: Label
    potential: Potential

    @property
    def table(self) -> np.ndarray:
        """``(*shape)`` the values of the potential, probabilities or any weights; axes as in `scope`."""
        return np.exp(self.potential.dense_log())

    def __repr__(self) -> str:
        return f"Factor {self.number} over {', '.join(map(str, self.scope))}: {self.potential!r}"

    def shown(self) -> Iterable[str | TextTable]:
        yield repr(self)
        yield ""
        table, names = self.table, telling(self.scope)
        if table.size > ENTRIES:
            yield f"{table.size:,} entries: factor.table is the array"
            return
        states = [telling(own) for own in self.states]
        if table.ndim == 1:
            yield TextTable([[s, f"{x:.4g}"] for s, x in zip(states[0], table, strict=True)], [names[0], ""])
            return
        head = [*names[:-1], *(f"{names[-1]}={s}" for s in states[-1])]
        rows = zip(product(*states[:-1]), table.reshape(-1, table.shape[-1]), strict=True)
        yield TextTable([[*before, *(f"{x:.4g}" for x in row)] for before, row in rows], head)


def factor_called(tree: Tree, key: Label | Sequence[Label]) -> Factor:
    """The factor above a variable, or of a root the one over it alone; for a tuple, that over exactly these variables.

    Raises:
        BadSpec: if there is none, or there are several.
        BadEvidence: for an unknown name.
    """
    from hgm.tree.called import factors_over  # which is made of trees

    if isinstance(key, tuple | list) and key not in tree.names:
        what, found = ", ".join(map(str, key)), factors_over(tree, {tree.index(name) for name in key})
    else:
        v = tree.index(key)
        what, above = str(key), int(tree.parent_factor[v])
        found = [above] if above >= 0 else factors_over(tree, {v})
    if len(found) != 1:
        raise BadSpec(f"the tree has {'several factors' if found else 'no factor'} over {what}")
    (f,) = found
    scope = tree.scope_of(f).tolist()
    states = tuple(tree.labels(v) or tuple(range(int(tree.cardinality[v]))) for v in scope)
    return Factor(f, tree.scope_names(f), states, tree.names[int(tree.parent[f])], tree.potential_of(f))


def level_table(tree: Tree) -> TextTable:
    """A row for each level: how many variables, their names and states, and the factors above them."""
    rows = []
    for level in range(min(tree.depth + 1, LEVELS)):
        nodes = tree.at_level(level)
        low, high = int(tree.cardinality[nodes].min()), int(tree.cardinality[nodes].max())
        above = np.unique(tree.parent_factor[nodes]) if level else np.zeros(0, dtype=np.int64)
        ids = np.unique(tree.potential_id[above])
        names = ", ".join(str(tree.names[v]) for v in nodes[:NAMES].tolist()) + ", ..." * (len(nodes) > NAMES)
        states = f"{low}" if low == high else f"{low} to {high}"
        rows.append([f"{level}", f"{len(nodes):,}", states, names, f"{len(above):,}", f"{len(ids):,}"])
    if tree.depth >= LEVELS:
        rows.append(["...", f"{len(tree) - int(tree.level_ptr[LEVELS]):,}", "", f"to level {tree.depth:,}", "", ""])
    headers = ["level", "variables", "states", "names", "factors above", "tables"]
    return TextTable(rows, headers, colalign=("right", "right", "right", "left", "right", "right"))


def outline(tree: Tree) -> str:
    """The variables, each under its parent: its states and, where there is one, its prior or the shape of its table."""
    lines: list[str] = []
    stack: list[tuple[str, str, int, int]] = [("", "", int(v), 0) for v in reversed(tree.roots)]
    shown = 0
    while stack:
        if len(lines) == LINES:
            lines.append(f"... and {len(tree) - shown:,} more variables")
            break
        indent, branch, v, left_out = stack.pop()
        if left_out:
            lines.append(f"{indent}{branch}... and {left_out:,} more")
            continue
        lines.append(f"{indent}{branch}{_node(tree, v)}")
        shown += 1
        inner = indent + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        below = [c for f in tree.factors_of(v) for c in tree.children_of(f).tolist()]
        kept = below if len(below) <= CHILDREN else below[: CHILDREN - 1]
        entries = [(inner, "├─ ", c, 0) for c in kept]
        entries += [(inner, "├─ ", -1, len(below) - len(kept))] if len(kept) < len(below) else []
        if entries:
            entries[-1] = (inner, "└─ ", *entries[-1][2:])
        stack += reversed(entries)
    return "\n".join(lines)


def _node(tree: Tree, v: int) -> str:
    labels, size = tree.labels(v), int(tree.cardinality[v])
    states = f"{size} states" if size != 1 else "1 state"
    if labels is not None:
        words = telling(labels)
        states = ", ".join(words[:NAMES]) + ", ..." * (len(words) > NAMES)
    notes = []
    f = int(tree.parent_factor[v])
    if f >= 0:
        siblings = [str(tree.names[c]) for c in tree.children_of(f).tolist() if c != v]
        name = tree.potential_of(f).name
        notes += [f"by {name!r}"] if name is not None else []
        notes += [f"jointly with {', '.join(siblings[:NAMES])}{', ...' * (len(siblings) > NAMES)}"] if siblings else []
    alone = sum(len(tree.children_of(f)) == 0 for f in tree.factors_of(v))
    notes += ["prior" if alone == 1 else f"{alone} priors"] if alone else []
    return f"{tree.names[v]}  ({states})" + "".join(f"  {note}" for note in notes)
