"""`ablate`: the best that is possible with one thing missing, by the name of the thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from hgm.ablation.blind import Blind
from hgm.ablation.cut import blocks
from hgm.ablation.restricted import Ablation, Alone, Restricted
from hgm.ablation.silent import Silent
from hgm.ablation.window import Windowed, windows
from hgm.errors import BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Erasure, Flip, Gaussian, inside
from hgm.evidence.noise import several
from hgm.networks.compile import bound_channel
from hgm.tree.arguments import MOST, choice, number, whole
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Kind", "ablate"]

Kind = Literal["window", "block", "blind", "skips", "tree", "label", "own"]


def ablate(
    tree: Tree,
    kind: Kind,
    *,
    channel: Channel | None = None,
    radius: int | None = None,
    level: int | None = None,
    noise: Any = None,
    weights: Any = None,
    other: Tree | None = None,
) -> Restricted:
    """The best denoiser that is possible with one thing missing: exact, and without training.

        local = hgm.ablate(tree, "window", radius=2, channel=hgm.Gaussian(values))
        print(hgm.compare(local, tree))                                # what is missing costs: by noise, and in nats

    It is a network like those that `hgm.compile` makes: f(z, sigma), the posterior means of the leaves given what is
    left to see; with a channel of symbols their posteriors. For ``"window"``, ``"block"``, ``"label"`` and ``"own"``
    its excess is a lower bound for every network that sees no more; of ``"blind"`` the mean of the excess over its
    levels is, and at a single one another blind network may be better. A layer that looks at all positions (GroupNorm,
    attention, pooling) sees more than any window: `hgm.receptive_field` says what a network sees.

    Args:
        tree: the model.
        kind: what is missing:

            * ``"window"``: all that is further from a leaf than `radius` positions along an axis, beyond the receptive
              field of a plain CNN of 2 radius + 1 positions;
            * ``"block"``: all resolutions above a `level`: a leaf sees the leaves below its ancestor at that level;
            * ``"blind"``: the level of noise, of which only a prior is known: `noise` and `weights`;
            * ``"skips"``: the skips below a `level`: each leaf has the belief about its ancestor there. No bound;
            * ``"tree"``: the right tree: this is the optimum of the `other`. No bound;
            * ``"label"``: nothing. It is what a network costs that is not given the label, beside one that is:
              ``hgm.compare(..., given=["label"])``;
            * ``"own"``: the leaf's own observation, as for the blind-spot networks of self-supervised denoising.

        channel: how the leaves are observed: `Gaussian` (the default), `Flip`, `Erasure`, or your own.
        radius: from 0 up.
        level: 0, the roots, to the depth of the tree, the leaves alone.
        noise: levels of noise, a list.
        weights: their prior probabilities, in any unit; default equal ones.
        other: a tree with leaves of the same shape.

    Returns:
        A network whose ``ablation`` says what it lacks, whether that is a bound, and whether it costs finite nats.

    Raises:
        BadSpec: for an unknown kind, an argument that it does not take or lacks, or one that does not fit the tree.
        BadEvidence: for a channel with values for another number of states.
    """
    checked_tree(tree)
    choice("kind", kind, get_args(Kind))
    given = {"radius": radius, "level": level, "noise": noise, "weights": weights, "other": other}
    recipe = RECIPES[kind]
    for name, value in given.items():
        if value is not None and name not in recipe.takes:
            own = " and ".join(f"{name}=" for name in recipe.takes) or "nothing more"
            raise BadSpec(f"what kind={kind!r} leaves out is told by {own}; got {name}={brief(value)}")
        if value is None and name in recipe.takes and name != "weights":
            raise BadSpec(f"what kind={kind!r} leaves out is told by {name}=: {recipe.takes[name]}")
    net = recipe.make(tree, Gaussian() if channel is None else channel, **{name: given[name] for name in recipe.takes})
    return net.eval()


def _bound(tree: Tree, channel: Channel) -> Channel:
    return bound_channel(channel, int(tree.cardinality[tree.leaves].max()))


def _window(tree: Tree, channel: Channel, radius: Any) -> Restricted:
    radius = whole("radius", radius, 0, MOST)
    side = 2 * radius + 1
    axes = "x".join([str(side)] * len(tree.leaf_shape))
    lacks = Ablation("window", f"what is outside of a window of {axes}")
    return Windowed(tree, _bound(tree, channel), lacks, windows(tree, radius))


def _block(tree: Tree, channel: Channel, level: Any) -> Restricted:
    level = whole("level", level, 0, tree.depth)
    lacks = Ablation("block", f"the resolutions above level {level}")
    return Restricted(blocks(tree, level), _bound(tree, channel), lacks, tree.leaf_shape)


def _blind(tree: Tree, channel: Channel, noise: Any, weights: Any) -> Restricted:
    within = inside(channel)
    if not isinstance(within, Gaussian | Flip):
        seen = ": what is erased can be seen" if isinstance(within, Erasure) else ""
        raise BadSpec(f"the level of noise is hidden by hgm.Gaussian and hgm.Flip; got {brief(channel)}{seen}")
    most = 1.0 if isinstance(within, Flip) else np.inf
    what = "noise is a list of " + ("probabilities" if most == 1 else "positive numbers")
    levels = [number(x, what, lambda x: 0 < x <= most and x < np.inf) for x in several("noise", noise)]
    if not levels:
        raise BadSpec(f"{what}; got an empty one")
    given = [1.0] * len(levels) if weights is None else several("weights", weights)
    says = "weights are probabilities of the levels of noise, in any unit, and not all 0"
    shares = np.array([number(x, says, lambda x: 0 <= x < np.inf) for x in given])
    if len(shares) != len(levels) or not 0 < shares.sum() < np.inf:
        raise BadSpec(f"{says}; got {brief(weights)} for {len(levels)} levels")
    some = shares > 0
    lacks = Ablation("blind", f"the level of noise, one of {some.sum()}")
    return Blind(tree, _bound(tree, channel), lacks, np.array(levels)[some], (shares / shares.sum())[some])


def _skips(tree: Tree, channel: Channel, level: Any) -> Restricted:
    level = whole("level", level, 0, tree.depth)
    lacks = Ablation("skips", f"the skips below level {level}", bound=False, finite=level == tree.depth)
    return Silent(tree, _bound(tree, channel), lacks, level)


def _tree(tree: Tree, channel: Channel, other: Any) -> Restricted:
    if checked_tree(other).leaf_shape != tree.leaf_shape:
        raise BadSpec(f"the other tree has leaves {other.leaf_shape}, and the tree {tree.leaf_shape}")
    return Restricted(other, _bound(other, channel), Ablation("tree", "the right tree", bound=False), tree.leaf_shape)


def _label(tree: Tree, channel: Channel) -> Restricted:
    return Restricted(tree, _bound(tree, channel), Ablation("label", "the label"), tree.leaf_shape)


def _own(tree: Tree, channel: Channel) -> Restricted:
    lacks = Ablation("own", "the leaf's own observation", finite=False)
    return Alone(tree, _bound(tree, channel), lacks, tree.leaf_shape)


@dataclass(frozen=True)
class Recipe:
    """How a kind is made, and the arguments that it takes, each in words."""

    make: Callable[..., Restricted]
    takes: dict[str, str]


OF_LEVEL = {"level": "0, the roots, to the tree's depth"}
RECIPES = {
    "window": Recipe(_window, {"radius": "how many positions a leaf sees on each side"}),
    "block": Recipe(_block, OF_LEVEL),
    "blind": Recipe(_blind, {"noise": "the levels that there may be", "weights": ""}),
    "skips": Recipe(_skips, OF_LEVEL),
    "tree": Recipe(_tree, {"other": "the tree that is taken for the right one"}),
    "label": Recipe(_label, {}),
    "own": Recipe(_own, {}),
}
