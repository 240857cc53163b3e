"""How many symbols to reveal in each step of a masked sampler, and what drawing several at once costs in nats.

In one step all symbols of a block are drawn from their own posteriors, as if independent given what is known. With
blocks of sizes k_1, ..., k_T, and i symbols known when block b begins, that costs, on average over data,

    KL = sum_b sum_{v in b} H(x_v | the i symbols known before b)  -  sum_v H(x_v | all symbols revealed before v)

of which the last sum is the entropy of the data, by the chain rule. In random order all hidden leaves are alike: with
h(i) the mean conditional entropy of a hidden leaf when i random leaves are known, a block costs

    sum_{j = i}^{i + k - 1} (h(i) - h(j))

so KL is the left Riemann sum of h minus the sum of h. The best sizes are a shortest path from 0 to n known leaves.
Chen, Cong, Li, arXiv 2511.04647; Lavenant, Zanella, 2510.25544.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.errors import BadSpec, brief, listing
from hgm.evidence.channels import Erasure
from hgm.networks.compile import compile
from hgm.tree.arguments import listed, whole
from hgm.tree.labels import Label
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Cost", "Schedule", "cheapest", "schedule"]

DRAWS = 1024
#: leaves for each of which a posterior is computed, over all draws and all numbers of known leaves
MOST = 1 << 25
#: in random order h is computed at no more numbers of known leaves than these, and interpolated between
KNOTS = 128
#: in a fixed order the means of so many parts of the draws are kept, one table each
PARTS = 32
#: numbers in a posterior that is computed at once
SLICE = 1 << 20


class Cost(NamedTuple):
    """KL of a schedule, estimated.

    Attributes:
        kl: in nats.
        stderr: the standard error of `kl` from sampling.
    """

    kl: float
    stderr: float

    @property
    def interval(self) -> tuple[float, float]:
        """`kl` less and plus two standard errors: about 95%."""
        return self.kl - 2 * self.stderr, self.kl + 2 * self.stderr


@dataclass(frozen=True, eq=False)
class Schedule:
    """Step sizes for masked diffusion, and what they cost. `print` shows a table.

    Attributes:
        sizes: how many symbols each step reveals; they sum to the number of leaves.
        order: names of the leaves as they are revealed; ``None`` for a random order.
        positions: the same as flat positions among the leaves.
        means: what `kl` is. ``"KL(p || q)"`` exactly, for a fixed order; ``"mean over orders of KL(p || q)"`` for a
            random order, which bounds the KL of the sampler, who does not say which order it took, from above.
        h: ``(n,)`` nats: the entropy of a leaf when so many are known: of a random hidden leaf, or of the next one of
            the order.
        entropy: of the data, in nats: the sum of `h`.
        best: `Cost` of the sizes.
        equal: `Cost` of as many steps of equal size, up to rounding.
    """

    sizes: tuple[int, ...]
    order: tuple[Label, ...] | None
    positions: tuple[int, ...] | None
    means: str
    h: np.ndarray
    entropy: float
    best: Cost
    equal: Cost
    table: _Entropies = field(repr=False)

    @property
    def kl(self) -> float:
        """What the sizes cost, in nats: see `means`."""
        return self.best.kl

    @property
    def interval(self) -> tuple[float, float]:
        """`kl` less and plus two standard errors: about 95%."""
        return self.best.interval

    def cost(self, sizes: Sequence[int]) -> Cost:
        """What other step sizes would cost, of the same draws.

        Raises:
            BadSpec: unless they are whole numbers from 1 up that sum to the number of leaves.
        """
        given = [whole("a step size", k, 1) for k in listed("sizes", sizes, "whole numbers")]
        n = len(self.h)
        if sum(given) != n:
            raise BadSpec(
                f"step sizes must sum to the number of leaves, {n}; got {brief(sizes)}, which sum to {sum(given)}"
            )
        return self.table.cost(given)

    def __str__(self) -> str:
        n, steps = len(self.h), len(self.sizes)
        order = "a random order" if self.order is None else "the given order"
        kl, equal = (f"{c.kl:.3g} ± {2 * c.stderr:.1g}" for c in (self.best, self.equal))
        lines = [
            f"{steps} step{'s' * (steps > 1)} for {n} leaves in {order}",
            f"{self.means}: {kl} nats; equal steps {equal}; entropy of the data {self.entropy:.4g}",
            f"{'step':>6}{'known':>8}{'revealed':>10}{'nats':>10}",
        ]
        ends = np.cumsum(self.sizes)
        for step, (end, size) in enumerate(zip(ends.tolist(), self.sizes, strict=True), 1):
            lines.append(f"{step:6d}{end - size:8d}{size:10d}{self.table.block(end - size, end).mean():10.4f}")
        return "\n".join(lines)


def schedule(
    tree: Tree, steps: int, *, order: Sequence[Label] | None = None, draws: int | None = None, seed: int = 0
) -> Schedule:
    """The step sizes for masked diffusion of a tree's leaves that cost least, and what they cost.

    Entropies are means over exact samples of the tree of the entropies of exact posteriors, of all hidden leaves, so KL
    has a standard error. The sizes are chosen by half of the draws and judged by the others, so their cost is not
    flattered; where equal steps are as good as any, they may come out a little cheaper.

    Of 64 leaves this takes about a second, of 1,024 some fifteen. In a random order of more than 128 leaves h is
    computed at 128 numbers of known leaves, and is linear between them.

    Args:
        tree: the model.
        steps: how many, from 1 to the number of leaves.
        order: names of all leaves, in the order in which they are to be revealed; default a random one for each row.
        draws: samples that judge, from 2 up, and as many that choose; default 1,024, or fewer (at least 64) if there
            are very many leaves. In a fixed order they are rounded up to a multiple of 32.
        seed: of the samples and orders.

    Raises:
        BadSpec: for another number of steps or draws, or an order that is none of all leaves.
        BadEvidence: for an unknown name.
    """
    n = len(checked_tree(tree).leaves)
    steps = whole("steps, each of which reveals one of the leaves at least,", steps, 1, n)
    positions = None if order is None else _positions(tree, order)
    knots = _knots(n) if positions is None else np.arange(n)
    rows = max(64, min(DRAWS, MOST // (n * len(knots)))) if draws is None else whole("draws", draws, 2)
    rows = rows if positions is None else -(-rows // PARTS) * PARTS
    generator = torch.Generator().manual_seed(whole("seed", seed, 0))
    chooses, judges = np.split(_estimated(tree, positions, knots, 2 * rows, generator), 2)
    table, sizes = _Entropies(judges.copy()), cheapest(_Entropies(chooses).of_blocks(), steps)
    equal = np.diff(np.arange(steps + 1) * n // steps).tolist()
    h = table.chain.mean(0)
    return Schedule(
        sizes=tuple(sizes),
        order=None if positions is None else tuple(tree.names[int(tree.leaves[i])] for i in positions),
        positions=None if positions is None else tuple(positions),
        means="mean over orders of KL(p || q)" if positions is None else "KL(p || q)",
        h=h,
        entropy=float(h.sum()),
        best=table.cost(sizes),
        equal=table.cost(equal),
        table=table,
    )


class _Entropies:
    """``(parts, n, n)`` entropy of the v-th leaf to be revealed when i are known, v >= i, of parts of the draws.

    In random order all hidden leaves are alike, and it is ``(parts, n, 1)``.
    """

    def __init__(self, table: np.ndarray) -> None:
        self.table = table
        self.chain = table[:, :, 0] if table.shape[2] == 1 else table.diagonal(axis1=1, axis2=2)

    def block(self, start: int, end: int) -> np.ndarray:
        """``(parts,)`` what it costs to reveal the leaves from `start` up to `end` at once."""
        at_once = self.table[:, start, start:end] if self.table.shape[2] > 1 else self.table[:, start] * (end - start)
        return at_once.sum(1) - self.chain[:, start:end].sum(1)

    def cost(self, sizes: Sequence[int]) -> Cost:
        ends = np.cumsum(sizes).tolist()
        kl = sum(self.block(end - size, end) for end, size in zip(ends, sizes, strict=True))
        return Cost(float(np.mean(kl)), float(np.std(kl, ddof=1) / np.sqrt(len(self.table))))

    def of_blocks(self) -> np.ndarray:
        """``(n, n + 1)`` mean cost of the block from i up to j; infinite unless i < j."""
        n = self.table.shape[1]
        mean = np.broadcast_to(self.table.mean(0), (n, n))
        at_once, chain = (np.pad(x.cumsum(-1), [(0, 0)] * (x.ndim - 1) + [(1, 0)]) for x in (mean, self.chain.mean(0)))
        start, end = np.arange(n), np.arange(n + 1)
        cost = at_once - at_once[start, start][:, None] - (chain - chain[:n, None])
        return np.where(start[:, None] < end, cost, np.inf)


def cheapest(cost: np.ndarray, steps: int) -> list[int]:
    """The sizes of the `steps` blocks that cost least, by a dynamic programme.

    With C_t(j) the least cost of j leaves in t blocks, C_t(j) = min_i C_{t-1}(i) + cost(i, j).

    Args:
        cost: ``(n, n + 1)`` of the block from i up to j; infinite unless i < j.
        steps: from 1 to n.
    """
    n = len(cost)
    least, came_from = cost[0], []
    for _ in range(steps - 1):
        total = least[:n, None] + cost
        came_from.append(total.argmin(0))
        least = total.min(0)
    ends = [n]
    for at in reversed(came_from):
        ends.append(int(at[ends[-1]]))
    return np.diff([0, *reversed(ends)]).tolist()


def _estimated(
    tree: Tree, positions: list[int] | None, knots: np.ndarray, rows: int, generator: torch.Generator
) -> np.ndarray:
    """The table of `_Entropies`, by exact posteriors of exact samples.

    A row keeps its sample and its order for all numbers of known leaves: KL is made of differences of entropies, which
    vary less than the entropies do.
    """
    net = compile(tree, "posterior", channel=Erasure(), query="leaves").double()
    leaves = infer(tree).sample(rows, generator=generator).leaves.flatten(1)
    n = leaves.shape[1]
    order = torch.rand(rows, n, generator=generator).argsort(1) if positions is None else torch.tensor([positions])
    rank = order.argsort(1)
    at_once = max(1, SLICE // (n * net.leaf_states))

    def entropies(known: int) -> Tensor:
        """``(rows, n)``, 0 where known."""
        z = torch.where(rank < known, leaves, -1)
        with torch.no_grad():
            parts = [
                torch.special.entr(net(part.unflatten(1, net.leaf_shape))).sum(1).flatten(1)
                for part in z.split(at_once)
            ]
        return torch.cat(parts) * (rank >= known)

    if positions is None:
        h = np.stack([(entropies(known).sum(1) / (n - known)).numpy() for known in knots.tolist()], 1)
        return _between(knots, h, n)[:, :, None]
    table = np.empty((2 * PARTS, n, n))
    for known in range(n):
        table[:, known] = entropies(known)[:, order[0]].unflatten(0, (2 * PARTS, -1)).mean(1).numpy()
    return table


def _knots(n: int) -> np.ndarray:
    """For how many known leaves h is computed: all numbers, or, of many, the first ones and then some far apart."""
    if n <= KNOTS:
        return np.arange(n)
    return np.unique(
        np.r_[np.arange(KNOTS // 4), np.linspace(KNOTS // 4, n - 1, KNOTS - KNOTS // 4).round().astype(int)]
    )


def _between(knots: np.ndarray, h: np.ndarray, n: int) -> np.ndarray:
    """``(rows, n)`` linear between the knots."""
    at = np.arange(n)
    right = np.searchsorted(knots, at).clip(1, None) if len(knots) > 1 else np.zeros(n, dtype=int)
    left = (right - 1).clip(0)
    share = (at - knots[left]) / (knots[right] - knots[left]).clip(1)
    return h[:, left] * (1 - share) + h[:, right] * share


def _positions(tree: Tree, order: Any) -> list[int]:
    """Where the leaves of an order stand among the leaves. Raises unless each of them is named once."""
    names = listed("order", order, "names of leaves")
    where = {int(v): i for i, v in enumerate(tree.leaves)}
    found: dict[int, Label] = {}
    for name in names:
        v = tree.index(name)
        if v not in where:
            raise BadSpec(f"order must name leaves; {brief(name)} is none")
        if v in found:
            raise BadSpec(f"order names the leaf {brief(name)} twice")
        found[v] = name
    missing = [tree.names[v] for v in where if v not in found]
    if missing:
        raise BadSpec(f"order must name all leaves; it lacks {listing(missing)}")
    return [where[v] for v in found]
