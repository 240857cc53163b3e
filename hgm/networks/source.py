"""A network as the plain torch code that it stands for: a text that needs torch only, and gives the same numbers.

The network runs in the kernel that is fast where the tables allow it; the text runs everything in logs, which is right
for all tables and needs no rescaling. Stages, layers, skips and the order of the variables are those of the plan.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hgm.compiler.ops import ConvOp, Op, PathOp, RulesOp
from hgm.compiler.plan import LevelPlan, LevelStage, Plan
from hgm.compiler.unary import unary_entries
from hgm.errors import BadSpec
from hgm.networks.heads import ConvNet, UNet
from hgm.tree.flat import flatten

__all__ = ["source_of"]

PRELUDE = '''
import torch

INF = float("inf")


def to_parent(psi, h):
    """q(s) = log sum_a psi(s, a_1, ...) h_1(a_1) ...: psi (F or 1, S, C_1, ...), each h (C_i, F, B) -> (S, F, B)."""
    x = psi.movedim(0, -1)[..., None]  # (S, C_1, ..., F or 1, B)
    for message in reversed(h):
        x = torch.logsumexp(x + message, dim=x.ndim - 3)
    return x


def to_child(psi, i, u, h):
    """r_i(a) = log sum of psi times u and the other children's h: the same layer, entered from another side."""
    rest = [u, *h[:i], *h[i + 1 :]]
    return to_parent(psi.movedim(2 + i, 1), rest)


def others(q, slots):
    """For every factor the sum of its siblings' q (S, F, B); slots (n, k), a row for each parent, -1 for none."""
    x = torch.cat([q, torch.zeros_like(q[:, :1])], 1)[:, slots]  # (S, n, k, B)
    k = slots.shape[1]
    left_out = torch.stack([x[:, :, [j for j in range(k) if j != i]].sum(2) for i in range(k)], 2)
    out = torch.empty_like(q)
    out[:, slots[slots >= 0]] = left_out[:, slots >= 0]
    return out


def own(e, columns, prior):
    """What a level knows by itself: the evidence (S, n_in, B) of its variables, column -1 for none, and priors."""
    states = len(prior)
    e = torch.cat([e, torch.zeros_like(e[:, :1])], 1)[:, columns][:states]
    missing = e.new_full((states - len(e), *e.shape[1:]), -INF)  # states that no observed variable has
    missing[:, [c == -1 for c in columns]] = 0.0
    return torch.cat([e, missing]) + prior[..., None]


def padded(x, states, value):
    """Messages (C, F, B) with a value for the states that these variables do not have."""
    return torch.cat([x, x.new_full((states - len(x), *x.shape[1:]), value)])
'''


def source_of(net: Any) -> str:
    """The text.

    Raises `BadSpec` for a network of ReLUs, for paths, for stages or ops from outside, and for networks of other kinds,
    such as ablations.
    """
    if type(net) not in (ConvNet, UNet):
        raise BadSpec(f"a {type(net).__name__} does more than run its plan; the source is of what hgm.compile makes")
    if net.certificate is not None:
        raise BadSpec(
            "a ReLU network approximates its plan; the source is of exact networks: compile without activation"
        )
    return _Writer(net).text()


class _Writer:
    def __init__(self, net: Any) -> None:
        self.net, self.plan, self.tree = net, net.plan, net.tree()
        self.both = len(net.decoder) > 0 or net.task != "classify"
        self.lines: list[str] = []
        plan: Plan = net.plan
        for stage in plan.stages:
            if type(stage) is not LevelStage:
                raise BadSpec(
                    f"the plan has a {type(stage).__name__}, whose source is not written out; compile with "
                    'schedule="levels"'
                )
        self.position = np.full(len(plan.tree), -1, dtype=np.int64)
        for level in plan.levels:
            self.position[level.order] = np.arange(level.nodes)

    def text(self) -> str:
        plan, net = self.plan, self.net
        what = f"{type(net).__name__}, task {net.task!r}: {plan.tree!r}."
        log = [f"{x!r}" for x in flatten(self.tree.potentials).tolist()]
        head = [
            f'"""{what}"""',
            PRELUDE,
            "",
            "# the logs of all weights; the last two stand for padding and for a zero",
        ]
        head += [
            "LOG = torch.tensor(",
            f"    [{', '.join([*log, '0.0', '-INF'])}], dtype=torch.float64".replace("-inf", "-INF"),
            ")",
        ]
        self._forward()
        return "\n".join([*head, "", "", *self.lines, ""])

    def _say(self, line: str) -> None:
        self.lines.append(f"    {line}" if line else "")

    def _forward(self) -> None:
        plan, net = self.plan, self.net
        names = ", ".join(repr(plan.tree.names[v]) for v in plan.inputs[:4].tolist())
        more = ", ..." if len(plan.inputs) > 4 else ""
        gives = "posterior means (B, n)" if net.task == "denoise" else "posteriors (B, S, n)"
        self.lines.append("def network(e):")
        self._say(f'"""From log evidence (B, S, {len(plan.inputs)}): {gives} and log Z (B,)."""')
        self._say(f"# the inputs are {names}{more}")
        self._say("e = e.double().permute(1, 2, 0)  # states first, batch last")
        for level in reversed(plan.levels):
            self._own(level)
        last = len(plan.levels) - 1
        self._say("")
        self._say("# encoder: from the leaves to the roots")
        self._say(f"h{last} = o{last}")
        for stage in reversed(plan.stages):
            self._up(stage)
        self._say("log_z = torch.logsumexp(h0, 0).sum(0)")
        self._say("b0 = h0")
        if self.both and plan.stages:
            self._say("")
            self._say("# decoder: back, with the skips o, q and h of the encoder")
            self._say("r0 = torch.zeros_like(h0)")
            for stage in plan.stages:
                self._down(stage)
        self._say("")
        self._answer()

    def _own(self, level: LevelPlan) -> None:
        plan = self.plan
        place = np.full(len(plan.tree), -1, dtype=np.int64)
        place[plan.inputs] = np.arange(len(plan.inputs))
        prior = np.where(np.arange(level.states)[:, None] < level.cardinality, 0.0, -np.inf)
        i = level.level
        self._say(f"prior{i} = {_floats(prior)}")
        for row, at in zip(unary_entries(level, plan).tolist(), level.unary_position.tolist(), strict=True):
            self._say(f"prior{i}[:, {at}] += LOG[{row}]")
        self._say(f"o{i} = own(e, {place[level.order].tolist()}, prior{i})")

    def _places(self, op: Op) -> tuple[list[int], list[list[int]]]:
        """Of each factor of an op: its parent, and child by child the children, as positions in their levels."""
        tree = self.plan.tree
        factors = op.factors.tolist()
        children = np.array([tree.children_of(f) for f in factors]).reshape(len(factors), -1)
        return self.position[tree.parent[op.factors]].tolist(), self.position[children].T.tolist()

    def _up(self, stage: LevelStage) -> None:
        at, above, below = stage.level, self.plan.levels[stage.level], self.plan.levels[stage.level + 1]
        parents: list[int] = []
        for j, op in enumerate(stage.ops):
            parent, children = self._places(op)
            parents += parent
            self._say(
                f"# level {at + 1} -> {at}: {op.name}, {below.states} -> {above.states} states, {len(parent)} factors"
            )
            psi, name = self._psi(op, len(parent)), f"{at}_{j}"
            for line in psi[:-1]:
                self._say(line)
            self._say(f"psi{name} = {psi[-1]}")
            cards = _cards(op)
            parts = ", ".join(f"h{at + 1}[:{c}, {child}]" for c, child in zip(cards, children, strict=True))
            self._say(f"in{name} = [{parts}]")
            self._say(f"q{name} = padded(to_parent(psi{name}, in{name}), {above.states}, 0.0)")
        names = ", ".join(f"q{at}_{j}" for j in range(len(stage.ops)))
        self._say(f"q{at} = torch.cat([{names}], 1)")
        self._say(f"h{at} = o{at}.index_add(1, torch.tensor({parents}), q{at})")

    def _down(self, stage: LevelStage) -> None:
        at, above, below = stage.level, self.plan.levels[stage.level], self.plan.levels[stage.level + 1]
        placed = [self._places(op) for op in stage.ops]
        parents = np.array([p for parent, _ in placed for p in parent])
        rows = [np.flatnonzero(parents == p).tolist() for p in range(above.nodes)]
        wide = max(map(len, rows))
        slots = [row + [-1] * (wide - len(row)) for row in rows]
        self._say(f"# level {at} -> {at + 1}")
        self._say(f"u{at} = (o{at} + r{at})[:, {parents.tolist()}] + others(q{at}, torch.tensor({slots}))")
        self._say(f"r{at + 1} = torch.zeros_like(h{at + 1})")
        start = 0
        for j, (op, (parent, children)) in enumerate(zip(stage.ops, placed, strict=True)):
            rows_out = op.shape[0] if isinstance(op, RulesOp) else op.index.shape[1]
            u = f"u{at}[:{rows_out}, {start}:{start + len(parent)}]"
            start += len(parent)
            for i, child in enumerate(children):
                sent = f"to_child(psi{at}_{j}, {i}, {u}, in{at}_{j})"
                self._say(f"r{at + 1}[:, {child}] = padded({sent}, {below.states}, 0.0)")
        self._say(f"b{at + 1} = h{at + 1} + r{at + 1}")

    def _psi(self, op: Op, factors: int) -> list[str]:
        """Lines that end with the expression of an op's log tables, ``(F or 1, S, C_1, ...)``."""
        if isinstance(op, RulesOp):
            states = ", ".join(map(str, op.states.T.tolist()))
            return [
                f"table = torch.full({op.shape}, -INF, dtype=torch.float64)",
                f"table[{states}] = LOG[{np.asarray(op.index).tolist()}]",
                "table[None]",
            ]
        if type(op).__module__ != ConvOp.__module__ or isinstance(op, PathOp):
            raise BadSpec(f"the source of the op {type(op).__name__} is not known")
        text = f"LOG[torch.tensor({np.asarray(op.index).tolist()})]"
        repeat = isinstance(op, ConvOp) and len(op.index) > 1
        return [f"{text}.repeat_interleave({factors // len(op.index)}, 0)" if repeat else text]

    def _answer(self) -> None:
        plan, net = self.plan, self.net
        levels = sorted({int(plan.level[v]) for v in net.query.tolist()})
        start = dict(zip(levels, np.cumsum([0, *(plan.levels[n].nodes for n in levels)]).tolist(), strict=False))
        places = [start[int(plan.level[v])] + int(self.position[v]) for v in net.query.tolist()]
        states = int(plan.tree.cardinality[net.query].max())
        wide = max(states, *(plan.levels[n].states for n in levels))
        parts = ", ".join(f"padded(b{n}.softmax(0), {wide}, 0.0)" for n in levels)
        self._say(f"posterior = torch.cat([{parts}], 1)[:{states}, {places}].permute(2, 0, 1)")
        if net.task == "classify":
            self._say("return posterior[:, :, 0], log_z")
        elif net.task == "denoise":
            values = net.channel.table().double().cpu().numpy()
            self._say(f"values = {_floats(values)}  # of the states")
            equation = '"bsn,sk->bkn"' if values.ndim == 2 else '"bsn,s->bn"'
            self._say(f"return torch.einsum({equation}, posterior, values), log_z")
        else:
            self._say("return posterior, log_z")


def _cards(op: Op) -> tuple[int, ...]:
    return op.shape[1:] if isinstance(op, RulesOp) else op.index.shape[2:]


def _floats(x: np.ndarray) -> str:
    return f"torch.tensor({x.tolist()!r}, dtype=torch.float64)".replace("-inf", "-INF")
