"""`compile`: a tree becomes a network."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hgm.compiler.engine import Engine
from hgm.compiler.exact import Exact
from hgm.compiler.plan import Plan
from hgm.compiler.schedule import AUTO, check_plan, planned
from hgm.compiler.split import exact
from hgm.compiler.trial import try_out
from hgm.errors import BadExtension, BadSpec, brief, extension
from hgm.evidence.ambient import Check, checked_check, making
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Soft
from hgm.networks.heads import ConvNet, UNet
from hgm.tree.arguments import choice, flag, is_series
from hgm.tree.labels import Label
from hgm.tree.tree import Tree, checked_tree

if TYPE_CHECKING:
    from hgm.relu.question import Allocation, Bound

__all__ = ["Task", "assemble", "bound_channel", "compile"]

Task = Literal["classify", "denoise", "posterior"]

TASKS: tuple[str, ...] = get_args(Task)


@making()
def compile(
    tree: Tree,
    task: Task = "posterior",
    *,
    channel: Channel | None = None,
    query: Label | Sequence[Label] | None = None,
    observed: Label | Sequence[Label] = (),
    trainable: bool = False,
    schedule: str | None = None,
    plan: Plan | None = None,
    check: Check = "now",
    activation: Literal["exact", "relu"] = "exact",
    tol: float = 1e-2,
    bound: Bound = "log_posterior",
    allocation: Allocation = "optimal",
    construction: str | None = None,
    floor: float | None = None,
) -> ConvNet | UNet:
    """Compile a tree into a network with constructed weights: equal to belief propagation, or ReLUs close to it.

    Args:
        tree: any tree or forest.
        task: ``"classify"``: a `ConvNet` for the posterior of one variable; ``"denoise"``: a `UNet` for the posterior
            means of the leaves; ``"posterior"``: a `UNet` for marginals.
        channel: how the leaves are observed; default `Soft`: log evidence, or integer symbols.
        query: for ``"classify"`` the name of a variable (default the root; the tree is re-rooted there); else names of
            variables, ``"leaves"`` or ``"all"`` (all variables, in tree order). Default: those that the channel
            observes, which are the leaves unless `observed` is ``"all"``.
        observed: names of further variables, besides the leaves, at which evidence may be given. Or ``"all"``: the
            observation is one of *all* variables, in tree order, ``(B, V)`` symbols or ``(B, S, V)`` log evidence: of a
            chain, a sequence in the order of time.
        trainable: make the weights parameters, with finite gradients also at zeros; tied factors stay tied.
        schedule: how the network is planned: ``"levels"``, a stage for each level of the tree; ``"paths"``, a stage for
            each level of heavy paths, few however deep the tree is (`hgm.compiler.paths`); ``"auto"``, the default,
            what takes less time by a model of it; or one of your own (`hgm.compiler.schedule`). ReLUs have levels.
        plan: a plan to run instead of making one: of the same tree (re-rooted at `query` to classify) with the same
            inputs.
        check: when it is looked whether there is an answer, if a call does not say it: ``"now"``, ``"later"`` or
            ``False`` (`Network.forward`). Files do not hold it.
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
        BadSpec: for an unknown task or schedule, a plan of another tree, or a bad option.
        BadEvidence: for an unknown variable.
        BadExtension: for a schedule, stage, op, layer, channel or construction that does not do what it must.
        Uncertifiable: if a ReLU network cannot keep the tolerance, or the wanted construction does not apply.
    """
    checked_tree(tree)
    choice("task", task, TASKS)
    choice("activation", activation, ("exact", "relu"))
    flag("trainable", trainable)
    check = checked_check(check)
    inputs, shape = _inputs(tree, observed)
    seen = inputs[: prod(shape)]
    wanted = _wanted(tree, task, query, seen)
    rooted = tree.reroot(tree.names[int(wanted[0])]) if task == "classify" else tree
    if rooted is not tree:
        inputs, wanted = (np.array([rooted.index(tree.names[int(v)]) for v in part]) for part in (inputs, wanted))
    if plan is None:
        name = AUTO if schedule is None else schedule
        by_levels = activation == "relu" and isinstance(name, str) and name == AUTO
        plan = planned("levels" if by_levels else name, rooted, inputs)
    elif schedule is not None:
        raise BadSpec(f"give a plan or the name of a schedule, not both; got a plan and schedule={brief(schedule)}")
    else:
        check_plan(plan, rooted, inputs)
    channel = bound_channel(Soft() if channel is None else channel, int(tree.cardinality[seen].max()))
    down = task != "classify"
    if activation == "exact":
        engine: Engine = exact(plan, trainable, down, channel, len(seen))
    else:
        from hgm.relu.design import Design  # here, for a light `hgm.compile` of exact networks
        from hgm.relu.engine import Relu
        from hgm.relu.question import Question

        asked = (plan, channel, shape, wanted, down)
        engine = Relu(plan, Design.of(Question(*asked, tol, bound, allocation, construction, floor)), trainable, down)
    network = assemble(engine, task, channel, shape, wanted)
    network.check = check
    return network


def assemble(
    engine: Engine, task: Task, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray
) -> ConvNet | UNet:
    """The network of an engine: its head for a task, with a channel before it. Arguments as for `Network`."""
    if isinstance(engine, Exact):
        try_out(engine)
    if task == "classify":
        return ConvNet(engine, channel, leaf_shape, query)
    return UNet(engine, channel, leaf_shape, query, mean=task == "denoise")


def _inputs(tree: Tree, observed: Label | Sequence[Label]) -> tuple[np.ndarray, tuple[int, ...]]:
    """``(n,)`` tree indices of the variables with evidence, those of the observation first, and the shape of that."""
    if isinstance(observed, str) and observed == "all":
        return np.arange(len(tree)), (len(tree),)
    names = [observed] if _is_one(tree, observed) else list(observed)
    extra = [v for v in dict.fromkeys(tree.index(name) for name in names) if tree.inner[v]]
    return np.concatenate([tree.leaves, np.array(extra, dtype=np.int64)]), tree.leaf_shape


def _is_one(tree: Tree, given: Label | Sequence[Label]) -> bool:
    """Whether this is a name and no list of names; a tuple that is a name is one."""
    return not is_series(given) or given in tree.names


def _wanted(tree: Tree, task: Task, query: Label | Sequence[Label] | None, seen: np.ndarray) -> np.ndarray:
    """``(n,)`` tree indices of the asked-for variables; `seen` are those that the channel observes."""
    if task == "classify":
        if not _is_one(tree, query):
            raise BadSpec(f"task 'classify' asks for one variable; got query={brief(query)}")
        return tree.roots[:1] if query is None else np.array([tree.index(query)])
    if query is None:
        return seen
    if isinstance(query, str) and query == "leaves":
        wanted = tree.leaves
    elif isinstance(query, str) and query == "all":
        wanted = np.arange(len(tree))
    elif _is_one(tree, query):
        wanted = np.array([tree.index(query)])
    else:
        wanted = np.array([tree.index(q) for q in query], dtype=np.int64)
        if not len(wanted):
            raise BadSpec("query names no variable")
    if task == "denoise" and not np.array_equal(wanted, seen):
        what = "the leaves" if np.array_equal(seen, tree.leaves) else "all variables, which are observed"
        raise BadSpec(f"task 'denoise' gives the means of {what}; use task 'posterior' for other variables")
    return wanted


def bound_channel(channel: Channel, states: int) -> Channel:
    """The channel for leaves of so many states."""
    if not isinstance(channel, Channel):
        raise BadSpec(f"channel must be a Channel, such as hgm.Gaussian(); got {brief(channel)}")
    name = type(channel).__name__
    if type(channel).states_first is Channel.states_first and type(channel).forward is Channel.forward:
        raise BadExtension(f"the channel {name} does not say what its log evidence is: give it states_first")
    with extension(f"the channel {name} (does its __init__ call super().__init__?)"):
        return channel.bound(states)
