"""`compile`: a tree becomes a network. `ConvNet` is a collect; `UNet` is a collect, a distribute and the skips between.

    log evidence ──► [stage L-1 collect] ──► ... ──► [stage 0 collect] ──► root posterior                   (ConvNet)
                          │ skips: h, q                  │                    │
    leaf posteriors ◄── [stage L-1 distribute] ◄── ... ◄── [stage 0 distribute] ◄──                             (UNet)

Activations are ``(S, n, B)`` inside (states first, batch last) and ``(B, S, *leaf shape)`` outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.layers import Weights
from hgm.compiler.numerics import LOWEST, exp, exp_shifted, logsumexp, nodes, scale_linear, scale_log, to_linear
from hgm.compiler.plan import SAFE, Kernel, Plan, plan
from hgm.compiler.stage import GatherStage, Message, Skip, Stage, build_stage
from hgm.compiler.unary import SILENT, OwnEvidence
from hgm.errors import BadEvidence, BadPotential, BadSpec, ImpossibleEvidence, listing
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Soft
from hgm.evidence.named import log_evidence
from hgm.tree.tree import Tree

if TYPE_CHECKING:
    from hgm.networks.relunet import ReluConvNet, ReluUNet
    from hgm.relu.question import Allocation, Bound

__all__ = ["ConvNet", "Network", "TreeNetwork", "UNet", "compile"]

Task = Literal["classify", "denoise", "posterior"]

#: inference without gradients runs batches in slices of about this many numbers per level, to stay in cache
SLICE = 1 << 21


class Network(nn.Module):
    """What all compiled networks share: the input, by channel or by name, and running a batch in slices.

    Attributes:
        plan: the plan that the network runs.
        inputs: names of the variables whose evidence it takes: the leaves, then `observed`.
        channel: maps the observation of the leaves to log evidence.
        trainable: whether the weights are parameters.
        states_in, leaf_states, extra_states: largest cardinality of all inputs, of the leaves, and of `observed`.
    """

    def __init__(self, plan: Plan, channel: Channel, leaf_shape: tuple[int, ...], trainable: bool) -> None:
        super().__init__()
        self.plan = plan
        self.channel = channel
        self.leaf_shape = leaf_shape
        self.trainable = trainable
        self.extra = len(plan.inputs) - prod(leaf_shape)
        cardinality = plan.tree.cardinality[plan.inputs]
        self.states_in = int(cardinality.max())
        self.leaf_states = int(cardinality[: prod(leaf_shape)].max())
        self.extra_states = int(cardinality[prod(leaf_shape) :].max(initial=0))

    @property
    def row_size(self) -> int:
        """Numbers that one batch row takes on the widest level, for slicing."""
        return self.states_in * len(self.plan.inputs)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the variables whose evidence the network takes, in the order of its input columns."""
        return tuple(self.plan.tree.names[int(v)] for v in self.plan.inputs)

    def given(self, evidence: Mapping[str, Any]) -> Tensor:
        """`forward` on evidence by name, as for `hgm.infer`: ``{"x3": "red", "x7": [0.2, 0.8]}``.

        Raises:
            BadEvidence: also if it names a variable that is not one of `inputs` (compile with ``observed=[...]``).
        """
        full = log_evidence(self.plan.tree, self._known(evidence))
        return self._run(full[:, : self.states_in, torch.from_numpy(self.plan.inputs.copy())])

    def _known(self, evidence: Mapping[str, Any]) -> Mapping[str, Any]:
        known = set(self.plan.inputs.tolist())
        for name in evidence:
            if self.plan.tree.index(name) not in known:
                raise BadEvidence(f"this network takes no evidence at {name!r}; compile it with observed=[{name!r}]")
        return evidence

    # ------------------------------------------------------------------ running

    def forward(self, *observation: Tensor | float, evidence: Tensor | None = None) -> Tensor:
        """The posterior, from an observation of the leaves.

        Args:
            observation: what the channel takes: by default log evidence ``(B, S, *leaf shape)``, or integer symbols
                ``(B, *leaf shape)`` with -1 for missing; for `Gaussian` an observation and sigma.
            evidence: log evidence ``(B or 1, S, n)`` or integer states ``(B or 1, n)`` (-1 = missing) of the `observed`
                variables, in their order.

        Raises:
            BadEvidence: for a wrong shape, a NaN or +inf.
            ImpossibleEvidence: with the batch rows whose evidence has probability zero.
        """
        return self._sliced(self._run, observation, evidence)

    def _sliced(self, run: Any, observation: Sequence[Tensor | float], evidence: Tensor | None) -> Tensor:
        """`run` on the whole batch, or, where autograd keeps nothing, on slices of it that stay in cache."""
        if torch.compiler.is_compiling():
            return run(self._input(observation, evidence))
        given = [t for t in (*observation, evidence) if isinstance(t, Tensor)]
        batch = given[0].shape[0] if given and given[0].ndim else 0
        rows = max(1, SLICE // self.row_size)
        learns = torch.is_grad_enabled() and (self.trainable or any(t.requires_grad for t in given))
        if batch <= rows or learns:
            x = self._input(observation, evidence)
            return run(x) if len(x) else run(x.new_zeros(1, *x.shape[1:]))[:0]

        def part(t: Any, first: int) -> Any:
            per_row = isinstance(t, Tensor) and t.ndim > 0 and t.shape[0] == batch
            return t[first : first + rows] if per_row else t

        parts: list[Tensor] = []
        impossible: list[int] = []
        for first in range(0, batch, rows):
            x = self._input([part(t, first) for t in observation], part(evidence, first))
            try:
                parts.append(run(x, first))
            except ImpossibleEvidence as error:
                impossible += error.rows
        if impossible:
            raise ImpossibleEvidence(impossible)
        return torch.cat(parts)

    def _input(self, observation: Sequence[Tensor | float], evidence: Tensor | None) -> Tensor:
        """``(B, S, n_in)`` log evidence of all inputs."""
        e = self.channel(*observation)
        want = (self.states_in, *self.leaf_shape)
        states = e.shape[1] if e.ndim > 1 else 0
        if (
            e.ndim != 1 + len(want)
            or tuple(e.shape[2:]) != self.leaf_shape
            or (states != self.leaf_states and states != self.states_in)
        ):
            raise BadEvidence(
                f"log evidence of the leaves must have shape (B, {', '.join(map(str, want))}); got {tuple(e.shape)}"
            )
        e = e.flatten(2)
        if e.dtype not in (torch.float32, torch.float64):
            e = e.float()
        if not self.extra:
            if evidence is not None:
                raise BadEvidence(
                    "this network takes evidence at the leaves only; compile it with observed=[...] for more"
                )
            return e
        if e.shape[1] < self.states_in:
            e = F.pad(e, (0, 0, 0, self.states_in - e.shape[1]), value=-torch.inf)
        if evidence is None:
            more = e.new_zeros(1, self.states_in, self.extra)
        elif evidence.is_floating_point():
            more = evidence
        else:
            more = Soft(states=self.states_in)(evidence)
        if (
            more.ndim != 3
            or more.shape[2] != self.extra
            or not self.extra_states <= more.shape[1] <= self.states_in
            or (more.shape[0] != 1 and more.shape[0] != e.shape[0])  # not "in": torch.compile misreads that
        ):
            raise BadEvidence(
                f"evidence of the observed variables must have shape (B, {self.states_in}, {self.extra}); "
                f"got {tuple(more.shape)}"
            )
        if more.shape[1] < self.states_in:
            more = F.pad(more, (0, 0, 0, self.states_in - more.shape[1]), value=-torch.inf)
        return torch.cat([e, more.to(e.dtype).expand(e.shape[0], -1, -1)], 2)

    def _run(self, x: Tensor, first_row: int = 0) -> Tensor:
        raise NotImplementedError


class TreeNetwork(Network):
    """What `ConvNet` and `UNet` share: the encoder, and the log partition function.

    Attributes:
        weights: all distinct weights.
        encoder: the stages, leaves first.
    """

    input_mask: Tensor | None
    allowed: Tensor

    def __init__(self, plan: Plan, channel: Channel, leaf_shape: tuple[int, ...], trainable: bool) -> None:
        super().__init__(plan, channel, leaf_shape, trainable)
        tree = plan.tree
        uses = torch.bincount(torch.tensor(tree.potential_id), minlength=len(tree.potentials))
        self.weights = Weights(tree.potentials, uses, trainable)
        mask = np.where(np.arange(self.states_in)[:, None] < tree.cardinality[plan.inputs], 0.0, -np.inf)
        self.register_buffer("input_mask", torch.from_numpy(mask) if np.isinf(mask).any() else None, persistent=False)
        self.encoder = nn.ModuleList(
            build_stage(s, plan.levels[s.level], plan.levels[s.level + 1]) for s in reversed(plan.stages)
        )
        inner = [sum(g.nodes for g in s.groups if g.arity) for s in plan.stages] + [0]
        self.own = nn.ModuleList(OwnEvidence(level, n, plan) for level, n in zip(plan.levels, inner, strict=True))
        kernels = {level.kernel for level in plan.levels}
        self.by_node = any(isinstance(stage, GatherStage) for stage in self.stages)
        self.needs_log, self.needs_linear = "log" in kernels, "linear" in kernels
        self.rescale_leaves = plan.levels[-1].rescale
        self.register_buffer("allowed", self._allowed(), persistent=False)
        if trainable:
            self._rescale_everywhere()
        self.register_load_state_dict_post_hook(lambda module, _: module._loaded())
        self._fix()

    @property
    def stages(self) -> list[Stage]:
        """The encoder's stages, typed."""
        return [stage for stage in self.encoder if isinstance(stage, Stage)]

    def tree(self) -> Tree:
        """The network's tree with its current weights."""
        return self.plan.tree.with_potentials(self.weights.potentials())

    def log_partition(self, *observation: Tensor | float, evidence: Tensor | None = None) -> Tensor:
        """``(B,)`` log of the sum over all states of potentials times evidence. Arguments, errors: as for `forward`."""
        return self._sliced(self._log_partition, observation, evidence)

    def _log_partition(self, x: Tensor, first_row: int = 0) -> Tensor:
        messages, _, scales = self._encode(x, first_row)
        top = messages[0]
        mass = top.h.sum(0).log() if top.kernel == "linear" else logsumexp(top.h, 0)
        total = mass.sum(0, dtype=torch.float64) + self.weights.constant()
        for scale, kernel in scales:
            total = total + (scale if kernel == "log" else scale.log()).sum((0, 1), dtype=torch.float64)
        return total.to(x.dtype)

    def _encode(self, x: Tensor, first_row: int = 0) -> tuple[list[Message], list[Skip], list[tuple[Tensor, Kernel]]]:
        """Messages (root level first), skips (leaves' stage first), and the scales taken out, with their kernel."""
        scaled: Tensor | None = None
        if self.trainable:
            scaled = self.weights.scaled()
            if not torch.compiler.is_compiling():
                self._check_weights()
        b = x.shape[0]
        e = x.flatten(1).t().contiguous().view(x.shape[1], x.shape[2], b)  # (S, n_in, B)
        if self.input_mask is not None:
            e = e[: self.states_in] + self.input_mask[:, :, None].to(e.dtype)
        top = e.detach().amax(0, keepdim=True).clamp_min(LOWEST)
        logs = e.double() - top if self.needs_log else None  # float64 first: the difference itself may lose digits
        linear = exp_shifted(e, top) if self.needs_linear else None
        if linear is not None and self.by_node:
            linear = linear.transpose(0, 1).contiguous().transpose(0, 1)
        owns = [own(logs, linear, scaled, x) if own.speaks else SILENT for own in self.own]
        leaf = owns[-1].leaf
        assert leaf is not None
        leaf = leaf if leaf.shape[-1] == b else leaf.expand(-1, -1, b)
        scales: list[tuple[Tensor, Kernel]] = [(top, "log")]
        deepest = self.plan.levels[-1]
        if self.rescale_leaves:
            leaf, taken = scale_linear(leaf) if deepest.kernel == "linear" else scale_log(leaf)
            scales.append((taken, deepest.kernel))
        message = Message(leaf, deepest.kernel)
        messages = [message]
        skips: list[Skip] = []
        for stage, own in zip(self.stages, reversed(owns[:-1]), strict=True):
            message, scale, skip = stage.collect(message, own, scaled, x.dtype)
            messages.append(message)
            skips.append(skip)
            if scale is not None:
                scales.append((scale, stage.kernel))
        messages.reverse()
        if not torch.compiler.is_compiling():
            self._check(messages[0], first_row)
        return messages, skips, scales

    def _check(self, top: Message, first_row: int) -> None:
        mass = top.h.detach().sum(0) if top.kernel == "linear" else exp(logsumexp(top.h.detach(), 0))
        good = mass > 0
        if not bool(good.all()):
            rows = (torch.nonzero(~good.all(0)).flatten() + first_row).tolist()
            if bool(mass.isnan().any()):
                bad = (torch.nonzero(mass.isnan().any(0)).flatten() + first_row).tolist()
                raise BadEvidence(f"the evidence holds NaN or +inf in batch rows {listing(bad)}")
            raise ImpossibleEvidence(rows)

    # ------------------------------------------------------------------ weights and devices

    def _allowed(self) -> Tensor:
        """``(len(potentials),)`` how small the range of each potential may become under the chosen kernels.

        The plan's conditions are sums of ranges (siblings and priors; at an observed variable the factor above too):
        what each leaves to spare is divided evenly among its factors, so that all of them may use it up at once.
        """
        tree, ranges = self.plan.tree, self.weights.ranges().cpu().double().numpy()
        linear_level = np.array([level.kernel == "linear" for level in self.plan.levels])[tree.level]
        linear = (np.diff(tree.scope_ptr) == 1) & linear_level[tree.parent]
        for stage in self.plan.stages:
            for op in stage.ops:
                linear[op.factors] = op.kernel == "linear"
        low = np.where(linear, ranges[tree.potential_id], 0.0)
        seen = self.plan.inputs[tree.parent_factor[self.plan.inputs] >= 0]
        over = tree.parent_factor[seen]
        total = np.bincount(tree.parent, weights=low, minlength=len(tree)).astype(float)
        count = np.bincount(tree.parent, weights=linear, minlength=len(tree)).astype(float)
        total[seen] += low[over]
        count[seen] += linear[over]
        room = np.where(linear_level, (SAFE - total) / np.maximum(count, 1), -np.inf)  # of each variable
        spare = np.maximum(SAFE - low, room[tree.parent])  # of each factor
        np.maximum.at(spare, over, room[seen])
        most = np.full(len(tree.potentials), -np.inf)
        np.maximum.at(most, tree.potential_id[linear], spare[linear])
        return torch.from_numpy(ranges + most)

    def _rescale_everywhere(self) -> None:
        """Rescale at every level: where it can be skipped was decided for other weights."""
        self.rescale_leaves = True
        for stage in self.stages:
            stage.rescale = True

    def _loaded(self) -> None:
        self._check_weights()
        self._rescale_everywhere()
        self._fix()

    def _check_weights(self) -> None:
        """Raise `BadPotential` if weights have left the range for which the linear kernels were chosen."""
        ranges = self.weights.ranges()
        if bool((ranges < self.allowed).any()):
            bad = torch.nonzero(ranges < self.allowed).flatten().tolist()
            raise BadPotential(
                f"the weights of potentials {listing(bad)} have left the range for which this network's kernels were "
                "chosen; compile a new network from net.tree()"
            )

    def _fix(self) -> None:
        if not self.trainable:
            scaled = self.weights.scaled()
            for stage in self.stages:
                for layer in stage.factor_layers:
                    layer.fix(scaled)
            for own in self.own:
                own.fix(scaled)  # type: ignore[operator]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._fix()
        return self


class ConvNet(TreeNetwork):
    """The posterior of one variable, by a collect towards it: a convolutional classifier with constructed weights.

    ``net(observation) -> (B, S)`` probabilities.
    """

    def __init__(self, plan: Plan, channel: Channel, leaf_shape: tuple[int, ...], trainable: bool, root: int) -> None:
        super().__init__(plan, channel, leaf_shape, trainable)
        self.position = int(np.flatnonzero(plan.levels[0].order == root)[0])
        self.states = int(plan.tree.cardinality[root])

    def _run(self, x: Tensor, first_row: int = 0) -> Tensor:
        messages, _, _ = self._encode(x, first_row)
        return _posterior(messages[0], x.dtype)[: self.states, self.position].t()


class UNet(TreeNetwork):
    """Posteriors of many variables, by a collect and a distribute: a U-Net with constructed weights.

    ``net(observation)`` gives, by `task`:

    * ``"posterior"``: marginals ``(B, S, n)`` of the `query` variables, in their order (``(B, S, *leaf shape)`` for the
      leaves), 0 in states that a variable does not have. In memory the batch runs fastest, as inside the network;
    * ``"denoise"``: posterior means ``(B, *leaf shape)`` of the channel's values, ``(B, k, *leaf shape)`` for vectors.

    Attributes:
        decoder: one `Up` per stage, root first; each reads its weights from the encoder's stage.
    """

    places: Tensor | None

    def __init__(
        self, plan: Plan, channel: Channel, leaf_shape: tuple[int, ...], trainable: bool, query: np.ndarray, mean: bool
    ) -> None:
        super().__init__(plan, channel, leaf_shape, trainable)
        tree = plan.tree
        self.mean, self.query = mean, query
        self.decoder = nn.ModuleList(Up(s) for s in reversed(self.stages))
        self.query_shape = self.leaf_shape if np.array_equal(query, tree.leaves) else (len(query),)
        self.query_states = int(tree.cardinality[query].max())
        self.read, places = plan.places(query)
        self.register_buffer("places", None if places is None else torch.from_numpy(places), persistent=False)

    def _run(self, x: Tensor, first_row: int = 0) -> Tensor:
        messages, skips, _ = self._encode(x, first_row)
        dtype = x.dtype
        top = messages[0]
        beliefs = [top.h / top.h.sum(0, keepdim=True) if top.kernel == "linear" else top.h - logsumexp(top.h, 0)]
        r: Tensor | None = None
        b = beliefs[0]
        for up, stage, skip in zip(self.decoder, reversed(self.stages), reversed(skips), strict=True):
            b, r = up(stage, b, r, skip)
            beliefs.append(b)
        parts = []
        for level in self.read:
            p = beliefs[level] if messages[level].kernel == "linear" else exp(beliefs[level]).to(dtype)
            if len(self.read) > 1 and p.shape[0] < self.query_states:
                p = F.pad(p, (0, 0, 0, 0, 0, self.query_states - p.shape[0]))
            parts.append(p[: self.query_states])
        p = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if not self.mean:
            p = p if self.places is None else nodes(p, self.places)
            return p.permute(2, 0, 1).reshape(p.shape[-1], self.query_states, *self.query_shape)
        values = self.channel.values
        assert values is not None
        values = values[: p.shape[0]].to(p.dtype)
        means = (values if values.ndim == 2 else values[:, None]).t() @ p.flatten(1)
        means = means.view(-1, *p.shape[1:])
        means = means if self.places is None else nodes(means, self.places)
        out = means.permute(2, 0, 1).reshape(p.shape[-1], means.shape[0], *self.query_shape)
        return out if values.ndim == 2 else out.squeeze(1)


class Up(nn.Module):
    """One decoder stage: the transposed layers of an encoder stage, with its skips q and h. No weights of its own."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.text = "; ".join(
            f"{layer._get_name()} transposed, {layer.states_out} -> {layer.states_in}" for layer in stage.factor_layers
        )
        self.level = stage.level

    def forward(self, stage: Stage, b: Tensor, r: Tensor | None, skip: Skip) -> tuple[Tensor, Tensor]:
        """Beliefs of the children and their messages from above."""
        return stage.distribute(b, r, skip)

    def extra_repr(self) -> str:
        return f"level {self.level} -> {self.level + 1}: {self.text}, skips q and h"


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next forward instead of handing it back to the system.

    glibc raises its threshold for that when a large block is freed. Without this, a forward of some megabytes spends
    most of its time on page faults. The block is never touched, so this costs microseconds and no memory.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def _posterior(top: Message, dtype: torch.dtype) -> Tensor:
    h = top.h if top.kernel == "linear" else to_linear(top.h, torch.float64)
    return (h / h.sum(0, keepdim=True)).to(dtype)


@overload
def compile(
    tree: Tree,
    task: Task = ...,
    *,
    channel: Channel | None = ...,
    query: str | Sequence[str] | None = ...,
    observed: Sequence[str] = ...,
    trainable: bool = ...,
    activation: Literal["exact"] = ...,
) -> ConvNet | UNet: ...


@overload
def compile(
    tree: Tree,
    task: Task = ...,
    *,
    channel: Channel | None = ...,
    query: str | Sequence[str] | None = ...,
    observed: Sequence[str] = ...,
    trainable: bool = ...,
    activation: Literal["relu"],
    tol: float = ...,
    bound: Bound = ...,
    allocation: Allocation = ...,
    construction: str | None = ...,
    floor: float | None = ...,
) -> ReluConvNet | ReluUNet: ...


def compile(
    tree: Tree,
    task: Task = "posterior",
    *,
    channel: Channel | None = None,
    query: str | Sequence[str] | None = None,
    observed: Sequence[str] = (),
    trainable: bool = False,
    activation: Literal["exact", "relu"] = "exact",
    tol: float = 1e-2,
    bound: Bound = "log_posterior",
    allocation: Allocation = "optimal",
    construction: str | None = None,
    floor: float | None = None,
) -> ConvNet | UNet | ReluConvNet | ReluUNet:
    """Compile a tree into a network with constructed weights: equal to belief propagation, or ReLUs close to it.

    Args:
        tree: any tree or forest.
        task: ``"classify"``: a `ConvNet` for the posterior of one variable; ``"denoise"``: a `UNet` for the posterior
            means of the leaves; ``"posterior"``: a `UNet` for marginals.
        channel: how the leaves are observed; default `Soft`: log evidence, or integer symbols.
        query: for ``"classify"`` the name of a variable (default the root; the tree is re-rooted there); else names of
            variables, ``"leaves"`` (default) or ``"all"`` (all variables, in tree order).
        observed: names of further variables, besides the leaves, at which evidence may be given.
        trainable: make the weights parameters, with finite gradients also at zeros; tied factors stay tied.
        activation: ``"exact"``, or ``"relu"`` for a network of linear maps, ReLUs, sums and max normalisations whose
            ``certificate`` proves how far it can be from exact. The arguments below are for ``"relu"`` only.
        tol: how far it may be.
        bound: of what: ``"log_posterior"`` (largest ``|log p - log p'|``), ``"tv"`` (total variation) or ``"mean"`` (of
            posterior means), each for every asked-for variable.
        allocation: ``"optimal"`` shares the tolerance so that units are few; ``"uniform"`` gives all maps the same.
        construction: the only construction to use (`hgm.relu.constructions`); default the cheapest for each factor.
        floor: B > 0 floors log evidence at -B below the largest among each variable's possible states, for evidence
            with -inf.

    Returns:
        A `torch.nn.Module`; dtype and device of the results follow its input.

    Raises:
        BadSpec: for an unknown task or a bad option.
        BadEvidence: for an unknown variable.
        Uncertifiable: if a ReLU network cannot keep the tolerance, or the wanted construction does not apply.
    """
    _keep_freed_memory()
    if task not in ("classify", "denoise", "posterior"):
        raise BadSpec(f"task must be 'classify', 'denoise' or 'posterior'; got {task!r}")
    if task == "classify":
        if query is not None and not isinstance(query, str):
            raise BadSpec(f"task 'classify' asks for one variable; got query={list(query)!r}")
        name = tree.names[int(tree.roots[0])] if query is None else query
        rooted = tree.reroot(name)
    else:
        rooted = tree
    leaves = set(tree.leaves.tolist())
    extra = [v for v in dict.fromkeys(tree.index(name) for name in observed) if v not in leaves]
    inputs = np.concatenate([tree.leaves, np.array(extra, dtype=np.int64)])
    if rooted is not tree:
        inputs = np.array([rooted.index(tree.names[int(v)]) for v in inputs], dtype=np.int64)
    the_plan = plan(rooted, inputs)
    leaf_shape = tree.leaf_shape
    leaf_states = int(tree.cardinality[tree.leaves].max())
    the_channel = (Soft() if channel is None else channel).bound(leaf_states)
    options: dict[str, Any] = {
        "tol": tol,
        "bound": bound,
        "allocation": allocation,
        "construction": construction,
        "floor": floor,
    }
    if activation not in ("exact", "relu"):
        raise BadSpec(f"activation must be 'exact' or 'relu'; got {activation!r}")
    if task == "classify":
        root = rooted.index(name)
        if activation == "relu":
            from hgm.networks.relunet import ReluConvNet
            from hgm.relu.design import Design  # they stand on this module
            from hgm.relu.question import Question

            question = Question(the_plan, the_channel, leaf_shape, np.array([root]), down=False, **options)
            return ReluConvNet(the_plan, the_channel, leaf_shape, trainable, Design.of(question), root)
        return ConvNet(the_plan, the_channel, leaf_shape, trainable, root)
    if query is None or (isinstance(query, str) and query == "leaves"):
        wanted = tree.leaves
    elif isinstance(query, str):
        wanted = np.arange(len(tree)) if query == "all" else np.array([tree.index(query)])
    else:
        wanted = np.array([tree.index(q) for q in query], dtype=np.int64)
        if not len(wanted):
            raise BadSpec("query names no variable")
    if task == "denoise" and not np.array_equal(wanted, tree.leaves):
        raise BadSpec("task 'denoise' gives the means of the leaves; use task 'posterior' for other variables")
    if activation == "relu":
        from hgm.networks.relunet import ReluUNet
        from hgm.relu.design import Design
        from hgm.relu.question import Question

        question = Question(the_plan, the_channel, leaf_shape, wanted, down=True, **options)
        design = Design.of(question)
        return ReluUNet(the_plan, the_channel, leaf_shape, trainable, design, wanted, task == "denoise")
    return UNet(the_plan, the_channel, leaf_shape, trainable, wanted, task == "denoise")
