"""Messages that have few different columns, however many rows there are: of subtrees of few leaves that show symbols.

A leaf at which one of K symbols is observed (`hgm.evidence.coded`) has K messages. They are a table of K columns, and
the symbol is the number of the column. An edge maps all columns at once, and the product of two tables has a column for
each pair of theirs:

    q(s; k) = sum_a psi(s, a) h(a; k)                h(s; k1, k2) = q_1(s; k1) q_2(s; k2),  column K2 k1 + k2

as long as there are at most `COLUMNS`. Only then are columns looked up, row by row. (Programs for phylogenetics look up
the columns of the leaves' matrices, and find in the data which subtrees repeat among the sites: Kobert, Stamatakis and
Flouri 2017. Here it is known beforehand.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hgm.compiler.numerics import LOWEST, exp_shifted, scale_linear

__all__ = ["COLUMNS", "Table", "merged", "own_table"]

#: the most columns of a product: it is to be small beside the rows that it stands for
COLUMNS = 640


class Table(NamedTuple):
    """A message in the linear kernel, column by column.

    Attributes:
        h: ``(S, K)``.
        scale: ``(K,)`` float64 logs of what was taken from each column; ``None`` if nothing was.
        columns: columns of the evidence: their codes, one after the other, are the number of the column of h.
    """

    h: Tensor
    scale: Tensor | None
    columns: tuple[int, ...]

    def above(self, w: Tensor) -> Table:
        """The message of an edge with the matrix w."""
        return Table(torch.mm(w, self.h), self.scale, self.columns)

    def times(self, other: Table) -> Table:
        """A column for each pair of columns."""
        h = (self.h.unsqueeze(2) * other.h.unsqueeze(1)).flatten(1)
        scale = None
        if self.scale is not None or other.scale is not None:
            mine, its = (t.h.new_zeros(t.h.shape[1]).double() if t.scale is None else t.scale for t in (self, other))
            scale = (mine.unsqueeze(1) + its).flatten()
        return Table(h, scale, self.columns + other.columns)

    def rescaled(self) -> Table:
        """With maximum 1 in every column."""
        h, taken = scale_linear(self.h)
        logs = taken[0].double().log()
        return Table(h, logs if self.scale is None else self.scale + logs, self.columns)

    def look_up(self, codes: Sequence[Tensor], base: int) -> tuple[Tensor, Tensor | None]:
        """The message ``(S, B)``, or ``(S, 1)`` if all rows have the same, and the logs of what was taken ``(B,)``.

        Args:
            codes: of each column of the evidence, ``(B,)``.
            base: how many codes there are.
        """
        if not self.columns:
            return self.h, self.scale
        code = codes[self.columns[0]]
        for column in self.columns[1:]:
            code = torch.add(codes[column], code, alpha=base)
        code = code.int()
        return self.h.index_select(1, code), None if self.scale is None else self.scale.index_select(0, code)


def own_table(e: Tensor, column: int) -> Table:
    """What a variable knows from its own symbol, by log evidence ``(S, K)`` for each code; `column` is its number."""
    top = e.amax(0)
    top = torch.where(top > LOWEST, top, 0.0)  # where no state is left the message is zero
    return Table(exp_shifted(e, top), top.double() if bool(top.any()) else None, (column,))


def merged(tables: Iterable[Table]) -> list[Table]:
    """The product of all, in as few tables as have at most `COLUMNS` columns each, or one factor."""
    found: list[Table] = []
    for table in sorted(tables, key=lambda t: t.h.shape[1]):
        if found and found[-1].h.shape[1] * table.h.shape[1] <= COLUMNS:
            found[-1] = found[-1].times(table)
        else:
            found.append(table)
    return found
