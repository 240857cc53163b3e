"""What the study of ablations measures, cell by cell.

excess      of a restricted optimum, at given levels of noise or over the grid that gives nats (`hgm.compare`)
entropies   what blocks cost by the closed form, E log p(x) - sum over blocks of E log p(x_block), sample by sample
decided     the entropy of every level's nodes given z, against the noise
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hgm.ablation.kinds import ablate
from hgm.bp.posterior import infer
from hgm.evidence.channels import Clamp
from hgm.measure.excess import Blocks
from hgm.measure.gap import compare
from hgm.measure.threshold import siblings
from hgm.networks.compile import compile
from hgm.study.ablation_trees import Subject, built, channel_of
from hgm.study.cells import Cell
from hgm.tree.tree import Tree

__all__ = ["DECIDED", "LEVELS", "Asked", "asked", "measure", "reach"]

#: noise at which single excesses are told, and a finer list for curves of what has no nats
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CURVE = tuple(float(f"{2.0 ** (i / 2):.4g}") for i in range(-4, 10))
#: and for entropies, from next to none to nothing else
DECIDED = tuple(float(f"{2.0 ** (i / 4):.4g}") for i in range(-14, 25))
#: what a blind network may expect, all of it equally
PRIOR = tuple(float(f"{2.0 ** (i / 2):.4g}") for i in range(-8, 15))

ROWS = 4096  # of evidence at a time


class Asked(NamedTuple):
    """What a cell is about: how the study finds it again.

    Attributes:
        subject: the name of the tree.
        what: the kind of ablation, ``"entropies"`` or ``"decided"``.
        size: radius, level, or what is wrong with a tree.
        channel: ``"gaussian"`` or ``"erasure"``.
        nats: whether over the grid that gives nats.
    """

    subject: str
    what: str
    size: int | str = 0
    channel: str = "gaussian"
    nats: bool = True


def asked(subject: Subject, few: bool = False) -> Iterator[tuple[Asked, Cell]]:
    """All cells of a tree but for its reach. `few` levels of noise and samples make a quick version."""
    name, common = subject.name, {"tree": subject.made, "n": subject.n, "seed": 0}
    more = common | {"n": 5 * subject.n}
    levels, curve = (LEVELS[1::2], CURVE[2::4]) if few else (LEVELS, CURVE)
    for channel in ("gaussian", "erasure") if subject.erased else ("gaussian",):
        for radius in subject.radii:
            yield Asked(name, "window", radius, channel), _excess(common, "window", {"radius": radius}, channel)
        for level in range(1, subject.depth + 1):
            cell = _excess(more, "block", {"level": level}, channel)
            yield Asked(name, "block", level, channel), cell
    for level in range(subject.depth):
        cell = _excess(more, "skips", {"level": level}, noise=curve)
        yield Asked(name, "skips", level, nats=False), cell
    yield Asked(name, "own", nats=False), _excess(more, "own", {}, noise=curve)
    kinds: list[tuple[str, int | str, dict[str, Any]]] = [
        ("label", 0, {}),
        ("blind", 0, {"noise": list(PRIOR)}),
        *(("tree", wrong, {"other": other}) for wrong, other in subject.others.items()),
    ]
    for kind, size, options in kinds:
        yield Asked(name, kind, size), _excess(more, kind, options)
        yield Asked(name, kind, size, nats=False), _excess(more, kind, options, noise=levels)
    yield _siblings(subject)
    yield Asked(name, "entropies"), {"ask": "entropies", **more, "seed": 1}
    noise = list(DECIDED[::4] if few else DECIDED)
    yield Asked(name, "decided"), {"ask": "decided", **more, "seed": 2, "noise": noise}


def reach(subject: Subject, few: bool = False) -> Iterator[tuple[Asked, Cell]]:
    """Windows of all radii at few levels of noise."""
    yield _siblings(subject)
    common = {"tree": subject.made, "n": subject.n, "seed": 0}
    for radius in subject.radii:
        cell = _excess(common, "window", {"radius": radius}, noise=LEVELS[1::2] if few else LEVELS)
        yield Asked(subject.name, "window", radius, nats=False), cell


def _siblings(subject: Subject) -> tuple[Asked, Cell]:
    return Asked(subject.name, "siblings"), {"ask": "siblings", "tree": subject.made}


def _excess(
    common: dict[str, Any],
    kind: str,
    options: dict[str, Any],
    channel: str = "gaussian",
    noise: Sequence[float] | None = None,
) -> Cell:
    levels = None if noise is None else list(noise)
    return {"ask": "excess", "kind": kind, **options, "channel": channel, "levels": levels, **common}


def measure(cell: Cell) -> dict[str, Any]:
    """What a cell asks for."""
    if cell["ask"] == "siblings":
        return {"siblings": siblings(built(cell["tree"]))}
    return {"excess": _measure_excess, "entropies": _measure_entropies, "decided": _measure_decided}[cell["ask"]](cell)


def _measure_excess(cell: Cell) -> dict[str, Any]:
    """Noise, optimum, excess and its interval by level; nats with their interval; what the restriction says of itself.

    What is zero to rounding is 0.
    """
    tree = built(cell["tree"])
    channel = channel_of(cell["channel"], tree)
    options: dict[str, Any] = {name: cell[name] for name in ("radius", "level", "noise") if name in cell}
    if "other" in cell:
        options["other"] = built(cell["other"])
    restricted = ablate(tree, cell["kind"], channel=channel, **options)
    given = [tree.names[int(tree.roots[0])]] if cell["kind"] == "label" else []
    gap = compare(restricted, tree, channel=channel, noise=cell["levels"], n=cell["n"], seed=cell["seed"], given=given)
    rows = [row._replace(excess=0.0, low=0.0) if row.high <= gap.allowance else row for row in gap.levels]
    columns = {name: [getattr(row, name) for row in rows] for name in ("noise", "optimum", "excess", "low", "high")}
    nats = None
    if gap.nats is not None and gap.nats_allowance is not None:
        nats = [0.0] * 3 if gap.nats.high <= gap.nats_allowance else list(gap.nats)
    says = {"text": restricted.ablation.text, "bound": restricted.ablation.bound, "finite": restricted.ablation.finite}
    return {**columns, "leaves": gap.leaves, "nats": nats, "last": gap.last_octave, **says}


def _measure_entropies(cell: Cell) -> dict[str, Any]:
    """The entropy of the leaves; by level what its blocks cost, and what those of the next coarser one save.

    Each a mean and its standard error, in nats.
    """
    tree = built(cell["tree"])
    x = infer(tree).sample(cell["n"], generator=torch.Generator().manual_seed(cell["seed"])).leaves.flatten(1)
    net = compile(tree, channel=Clamp()).double()
    blank = torch.full((1, *tree.leaf_shape), -1)
    log_z = net.log_partition(blank)
    apart = torch.stack([_log_blocks(net, x, block, log_z) for block in Blocks(tree).block])  # (levels, n)
    costs, steps = apart[:1] - apart, apart[:-1] - apart[1:]
    return {
        "entropy": _mean(-apart[0]),
        "costs": [_mean(row) for row in costs],
        "steps": [_mean(row) for row in steps],
    }


def _log_blocks(net: Any, x: Tensor, block: Tensor, log_z: Tensor) -> Tensor:
    """``(n,)`` the sum over blocks of log p(x_block): leaves outside of a block are missing."""
    inside = block[None] == torch.arange(int(block.max()) + 1)[:, None]  # (blocks, leaves)
    parts = []
    for some in x.split(max(1, ROWS // len(inside))):
        rows = torch.where(inside, some[:, None], -1).flatten(0, 1)
        log_p = net.log_partition(rows.reshape(-1, *net.leaf_shape)) - log_z
        parts.append(log_p.reshape(len(some), -1).sum(1))
    return torch.cat(parts)


def _measure_decided(cell: Cell) -> dict[str, Any]:
    """The mean entropy of a node of every level, in nats: a priori, and given z, with its standard error."""
    tree = built(cell["tree"])
    channel = channel_of("gaussian", tree)
    nothing = infer(tree)
    prior = _by_level(tree, nothing.marginals[None])[0]
    x = nothing.sample(cell["n"], generator=torch.Generator().manual_seed(cell["seed"])).leaves
    net = compile(tree, query="all", channel=channel).double()
    left = []
    for sigma in cell["noise"]:
        z = net.channel.observe(x, torch.tensor(sigma).double(), generator=torch.Generator().manual_seed(cell["seed"]))
        with torch.no_grad():
            entropy = torch.cat([_by_level(tree, net(part, sigma)) for part in z.double().split(256)])
        left.append([_mean(column) for column in entropy.T])
    return {"noise": cell["noise"], "prior": prior.tolist(), "left": left}


def _by_level(tree: Tree, p: Tensor) -> Tensor:
    """``(B, levels)`` mean entropies of the nodes of each level, of marginals ``(B, S, V)``."""
    entropy = -torch.xlogy(p, p).sum(1)
    return torch.stack([entropy[:, tree.at_level(level)].mean(1) for level in range(tree.depth + 1)], 1)


def _mean(x: Tensor) -> list[float]:
    return [float(x.mean()), float(x.std()) / len(x) ** 0.5]
