"""A compiled network, drawn as the U-Net paper draws one: down the encoder, up the decoder, skips across.

Each row is a level of the tree, the leaves on top; or a level of paths, where o stands in the place of h. Going down, a
row holds the messages h of the level's variables and, after its layer, the messages q of its factors; going up, the
beliefs without the own message u, and the beliefs b. Above a box stands its number of states (channels), below it its
number of positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.compiler.ops import ConvOp, EdgeOp, PathOp
from hgm.compiler.path_plan import PathStage
from hgm.compiler.plan import LevelPlan, Plan, StagePlan
from hgm.errors import BadSpec, brief
from hgm.networks.heads import ConvNet, UNet
from hgm.viz.boxes import (
    BACK,
    DOWN,
    GAP,
    LAYER,
    LETTERS,
    LIFT,
    POOL,
    SKIP,
    UP,
    Box,
    arrow,
    between,
    draw_box,
    draw_colors,
    draw_path,
    over,
)
from hgm.viz.potentials import Scheme, color_scheme, times
from hgm.viz.style import INK, draw_title, new_figure
from hgm.viz.words import counted, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hgm.viz.drawing import Drawing

__all__ = ["draw_stages"]

MOST, ENDS = 4, 2  # levels; of deeper networks so many are shown at either end
STEP = 0.95  # inches from a box to the next
ROOM = 0.82  # between two rows
SIDE = 0.77  # from the edge to the middle of the first box
NARROWEST = 7.2
INOUT = 0.3  # length of the arrows into and out of the network
OVER = 0.62  # from a row to the line over it, for the leaves


def draw_stages(net: Any) -> Drawing:
    """The picture of a network. Raises `BadSpec` for what is no network of hgm."""
    both = isinstance(net, UNet)
    if not (both or isinstance(net, ConvNet)):
        raise BadSpec(
            f"pictures are of trees, of posteriors, and of the networks that hgm.compile makes; got {brief(net)}"
        )
    relu, plan = net.certificate is not None, net.plan
    asked = set(plan.level[net.query].tolist())
    depth = len(plan.levels) - 1
    levels = list(range(depth, -1, -1))
    shown = levels if len(levels) <= MOST else [*levels[:ENDS], *levels[-ENDS:]]
    column, row = _columns(shown), _rows(plan, shown)
    last = column[0]
    top = 1.2 if len(levels) > 1 else 1.0
    half = last + (STEP + GAP) / 2 if both else (last + STEP + 1.5) / 2  # of the drawing
    width = max(2 * (SIDE + half), NARROWEST)
    middle = width / 2  # the axis of the U
    left = middle - half
    high = row[0] + _high(plan.levels[0].nodes) / 2
    figure, axes = new_figure(width, top + high + (0.85 + 0.23 * (5 if both else 2) if len(levels) > 1 else 0.7))
    figure_height = figure.get_figheight()

    scheme = color_scheme(plan.tree)

    def is_log(level: LevelPlan) -> bool:
        return level.kernel == "log" and not relu

    def tensor(letter: str, of: LevelPlan, nodes: int, where: str, x: float, level: int) -> Box:
        """Draws a tensor with the states of a level, in the row of another."""
        box = Box(x, figure_height - top - row[level], _wide(of.states), _high(nodes))
        draw_box(axes, box, of.states, where, DOWN if letter in "hoq" else UP, is_log(of), letter)
        return box

    for i, level in enumerate(shown):
        here = plan.levels[level]
        along = level > 0 and isinstance(plan.stages[level - 1], PathStage)
        h = tensor("o" if along else "h", here, here.nodes, _positions(plan, here), left + column[level], level)
        _own(axes, plan, here, h, net)
        raised = OVER if i == 0 else 0.45
        named = f"level {level}" if not any(s.along for s in plan.stages) else f"paths {level}"
        axes.text(0.25, h.top + raised, named, fontsize=LETTERS, va="center", weight="bold", color=INK)
        if level == 0:
            continue
        stage = plan.stages[level - 1]
        above = plan.levels[level - 1]
        factors = sum(len(op.factors) for op in stage.ops if not isinstance(op, PathOp))
        nodes = _positions(plan, here)
        edges = nodes if factors == here.nodes else f"{factors:,}"
        q = tensor("q", above, factors, edges, h.x + STEP, level)
        arrow(axes, (h.right, h.y), (q.left, q.y), LAYER)
        over(axes, (h.right + q.left) / 2, h.y, "ReLU\nlayers" if relu else _layer(stage), LAYER)
        draw_colors(axes, (h.right + q.left) / 2, h.y, _colors(plan, scheme, stage))
        if along:
            draw_path(axes, h.right, q.left, h.y, LAYER)
        below = shown[i + 1]
        end_of_arrow = figure_height - top - row[below] + _high(plan.levels[below].nodes) / 2
        between(axes, q, end_of_arrow, level - below, True)
        if both:
            u = tensor("u", above, factors, edges, 2 * middle - q.x, level)
            b = tensor("b", here, here.nodes, nodes, 2 * middle - h.x, level)
            arrow(axes, (u.right, u.y), (b.left, b.y), BACK)
            over(axes, (u.right + b.left) / 2, b.y, "ReLU\nlayers" if relu else "trans-\nposed", BACK)
            if along:
                draw_path(axes, u.right, b.left, b.y, BACK)
            between(axes, u, end_of_arrow, level - below, False)
            arrow(axes, (q.right, q.y), (u.left, u.y), SKIP, dashed=True)
            peak = max(h.top, q.top) + 0.3
            start, end = h.right - 0.02, b.left + 0.02
            axes.plot([start, start, end], [h.top, peak, peak], color=SKIP, linewidth=1.1, linestyle=(0, (4, 2)))
            arrow(axes, (end, peak), (end, b.top), SKIP, dashed=True)
            for y, words in (
                (q.y, f"$q$  {above.states:,} × {edges}"),
                (peak, f"${'o' if along else 'h'}$  {here.states:,} × {nodes}"),
            ):
                axes.text(middle, y + 0.04, words, fontsize=LETTERS, ha="center", va="bottom", color=SKIP)
            if level in asked:
                _output(axes, net, b, level)
    root = plan.levels[0]  # h is its box now
    if both:
        b = tensor("b", root, root.nodes, _positions(plan, root), 2 * middle - h.x, 0)
        arrow(axes, (h.right, h.y), (b.left, b.y), INK)
        over(axes, middle, h.y, "normalise", INK)
        if 0 in asked:
            _output(axes, net, b, 0)
    else:
        (variable,) = net.query.tolist()
        b = Box(h.x + STEP, h.y, _wide(root.states), _high(1))
        arrow(axes, (h.right, h.y), (b.left, b.y), INK)
        over(axes, (h.right + b.left) / 2, h.y, "normalise", INK)
        draw_box(axes, b, int(plan.tree.cardinality[variable]), "", UP, False, "")
        name = plan.tree.names[variable]
        arrow(axes, (b.right, b.y), (b.right + 0.35, b.y), INK)
        axes.text(
            b.right + 0.42,
            b.y,
            f"posterior of\n{short(name)}",
            fontsize=LETTERS,
            va="center",
            color=INK,
            parse_math=False,
        )
    words = ("ReLU " if relu else "") + ("U-Net" if both else "ConvNet")
    words += f": {counted(len(plan.stages), 'stage')}" + ("" if relu else f", {counted(plan.weights, 'weight')}")
    draw_title(axes, words + (f", {plan.flops:,} multiply-adds for each observation" if both and not relu else ""))
    if len(levels) > 1:
        along = any(isinstance(stage, PathStage) for stage in plan.stages)
        _legend(axes, both, relu, any(is_log(level) for level in plan.levels), along)
    return figure


# ---------------------------------------------------------------------- places and sizes


def _columns(shown: list[int]) -> dict[int, float]:
    """How far to the right each level's h stands."""
    x, out = 0.0, {}
    for i, level in enumerate(shown):
        out[level] = x
        if i + 1 < len(shown):
            x += STEP + (GAP if shown[i + 1] != level - 1 else 0.0)
    return out


def _rows(plan: Plan, shown: list[int]) -> dict[int, float]:
    """How far down the middle of each level's row is."""
    y, out = 0.35, {}
    for i, level in enumerate(shown):
        half = _high(plan.levels[level].nodes) / 2
        y += half
        out[level] = y
        y += half + ROOM
        if i + 1 < len(shown) and shown[i + 1] != level - 1:
            y += 0.3
    return out


def _high(nodes: int) -> float:
    return 0.3 + 0.115 * float(np.log2(max(nodes, 1)))


def _wide(states: int) -> float:
    return 0.14 + 0.05 * float(np.log2(max(states, 1)))


# ---------------------------------------------------------------------- words


def _positions(plan: Plan, level: LevelPlan) -> str:
    shape = plan.shape(level)
    return times(shape) if len(shape) == 2 else f"{level.nodes:,}"


def _layer(stage: StagePlan) -> str:
    if isinstance(stage, PathStage):
        return f"{counted(len(stage.heads), 'path')},\n{_layer(stage.light)}"
    names = []
    for op in stage.ops:
        if isinstance(op, ConvOp):
            names.append(f"{op.name}\n{times(op.arity)}")
        elif isinstance(op, EdgeOp):
            names.append("locally\nconnected" if op.regular else "gather,\nmatrices")
        else:
            names.append({"joint": "joint\ntables", "rules": "rules"}.get(op.name, op.name))
    kinds = list(dict.fromkeys(names))
    return kinds[0] if len(kinds) == 1 else f"{len(stage.ops):,} folded\nops"


def _colors(plan: Plan, scheme: Scheme, stage: StagePlan) -> list[str]:
    """The colours that the stage's tied tables have in the picture of the tree; grey are those that are used once."""
    ids = np.unique(np.concatenate([plan.tree.potential_id[op.factors] for op in stage.ops]))
    return list(dict.fromkeys(scheme.color[i] for i in ids.tolist()))


# ---------------------------------------------------------------------- painting


def _own(axes: Axes, plan: Plan, level: LevelPlan, h: Box, net: Any) -> None:
    """What the level's variables know by themselves: evidence and priors; of the leaves in a line over their row."""
    seen = int((level.observed >= 0).sum())
    leaves = level.level == len(plan.levels) - 1
    words = []
    if leaves:
        all_here = seen == len(net.plan.inputs) - net.extra
        count = times(net.leaf_shape) if all_here and len(net.leaf_shape) == 2 else counted(seen, "variable")
        words.append(f"{type(net.channel).__name__} evidence of {count}")
    elif seen:
        words.append(f"evidence\nof {counted(seen, 'variable')}")
    if len(level.unary):
        words.append("prior" if len(level.unary) == 1 else f"{len(level.unary):,} priors")
    if words:
        arrow(axes, (h.left - INOUT, h.y), (h.left, h.y), INK)
        x, y, text = (
            (1.05, h.top + OVER, ", ".join(words)) if leaves else (h.left - INOUT - 0.05, h.y, "\n".join(words))
        )
        axes.text(x, y, text, fontsize=LETTERS, ha="left" if leaves else "right", va="center", color=INK)


def _output(axes: Axes, net: Any, b: Box, level: int) -> None:
    """What is read out of a level; of the leaves in a line over their row."""
    leaves = level == len(net.plan.levels) - 1
    if net.task == "denoise":
        words = f"mean of {times(net.leaf_shape)} values"
    else:
        here = net.plan.levels[level].order
        count = int(np.isin(net.query, here).sum())
        whole = len(net.leaf_shape) == 2 and count == len(net.query) and np.array_equal(net.query, net.plan.tree.leaves)
        of = times(net.leaf_shape) if whole else counted(count, "variable")
        words = f"posteriors of {of}" if leaves else f"posteriors\nof {of}"
    arrow(axes, (b.right, b.y), (b.right + INOUT, b.y), INK)
    x, y = (b.right + INOUT, b.top + OVER) if leaves else (b.right + INOUT + 0.05, b.y)
    axes.text(x, y, words, fontsize=LETTERS, ha="right" if leaves else "left", va="center", color=INK)


def _legend(axes: Axes, both: bool, relu: bool, log: bool, along: bool) -> None:
    if relu:
        lines = [
            (LAYER, False, "ReLU layers: log messages q to the parents, from the children's h"),
            (POOL, False, "pool: sum over each parent's factors, plus its evidence and prior; maximum to 0"),
            (LIFT, False, "up-sample: the parent's log belief minus q, which the factor itself said"),
            (BACK, False, "ReLU layers, plus h: the children's log beliefs b"),
        ]
    else:
        lines = [
            (
                LAYER,
                False,
                "layer: messages q to the parents, from the children's h; squares: tied tables",
            ),
            (POOL, False, "pool: product over each parent's factors, times its evidence and prior; rescaled"),
            (LIFT, False, "up-sample: the parent's belief without q, which the factor itself said"),
            (BACK, False, "transposed layer, times h: the children's beliefs b"),
        ]
    lines = [*lines, (SKIP, True, "skip")] if both else lines[:2]
    y = 0.25 + 0.23 * (len(lines) + log + along)
    for color, dashed, text in lines:
        arrow(axes, (0.3, y), (0.72, y), color, dashed)
        axes.text(0.82, y, text, fontsize=LETTERS, va="center", color=INK)
        y -= 0.23
    if along:
        draw_path(axes, 0.2, 0.8, y, LAYER)
        words = "along all paths of a level at once, from o: what is known without the paths"
        axes.text(0.82, y, words, fontsize=LETTERS, va="center", color=INK)
        y -= 0.23
    if log:
        words = "dashed boxes: log messages in float64; other boxes: rescaled probabilities"
        axes.text(0.3, y, words, fontsize=LETTERS, va="center", color=INK)
