"""Lowering: which ops a tree becomes, and that they are the convolutions that they say they are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles.trees import CASES

import hgm
from hgm.compiler.layers import Conv
from hgm.compiler.levels import by_levels as plan
from hgm.testing import feed, random_evidence


def ops(tree, **options):
    """Names of the ops of each stage, root first."""
    return [[op.name for op in stage.ops] for stage in plan(tree, **options).stages]


# ---------------------------------------------------------------------- which ops


@pytest.mark.parametrize("tie", ["position", "level"])
def test_a_regular_tied_line_becomes_strided_convolutions(tie):
    tree = hgm.zoo.random_ghm(3, [2, 3, 4], [2, 3, 2], root=5, tie=tie, seed=0)
    stages = plan(tree).stages
    assert ops(tree) == [["conv1d"]] * 3
    assert [stage.ops[0].arity for stage in stages] == [(2,), (3,), (2,)]
    assert [stage.regular for stage in stages] == [True] * 3
    assert [(op.states_in, op.states_out) for (op,) in (s.ops for s in stages)] == [(2, 5), (3, 2), (4, 3)]
    weights = [len(np.unique(stage.ops[0].index)) for stage in stages]
    positions = [2, 3, 2] if tie == "position" else [1, 1, 1]
    assert weights == [m * a * b for m, a, b in zip(positions, (5, 2, 3), (2, 3, 4), strict=True)]


@pytest.mark.parametrize("arity", [(2, 2), (1, 3), (3, 2)])
def test_a_regular_tied_grid_becomes_convolutions_in_two_dimensions(arity):
    tree = hgm.zoo.random_ghm(2, 3, arity, seed=0)
    assert ops(tree) == [["conv2d"]] * 2
    assert [stage.ops[0].arity for stage in plan(tree).stages] == [arity] * 2


def test_untied_becomes_locally_connected():
    tree = hgm.zoo.random_ghm(3, 3, 2, tie="none", seed=0)
    assert ops(tree)[1:] == [["local"]] * 2  # below the root every position has one parent: that is a convolution
    assert ops(tree)[0] == ["conv1d"]


def test_an_irregular_tree_becomes_gathers():
    tree = hgm.random_tree(60, seed=0)
    names = {name for stage in ops(tree) for name in stage}
    assert "gather" in names
    assert not names & {"joint", "rules", "conv2d"}


def test_joint_tables_and_rules_become_ops_of_their_own():
    assert ops(hgm.zoo.random_ghm(2, 3, 2, joint=True, seed=0)) == [["joint"]] * 2
    assert ops(hgm.zoo.random_ghm(2, 3, 2, joint=True, tie="none", seed=0)) == [["joint"]] * 2
    assert ops(hgm.rhm(4, 2, 2, 3)) == [["rules"]] * 3
    mixed = {name for stage in ops(CASES["polytree"].tree) for name in stage}
    assert "joint" in mixed


def test_ties_at_other_axes_are_not_mixed_up():
    """One matrix used along its rows and along its columns: two different layers."""
    step = hgm.Edge(np.arange(1.0, 10.0).reshape(3, 3))
    tree = hgm.Tree.from_factors([(("a", "b"), step), (("c", "a"), step)], roots=["a"])
    (stage,) = plan(tree).stages
    index = stage.ops[0].index
    assert len(index) == 2
    assert np.array_equal(index[0], index[1].T)


def test_factors_of_one_shape_are_folded():
    """The number of ops follows the kinds of factors, not their number."""
    tree = hgm.random_tree(2000, cardinality=(2, 5), joint=0.2, width=2, seed=0)
    worst = max(len(stage) for stage in ops(tree))
    shapes = {(p.shape[0], *sorted(p.shape[1:])) for p in tree.potentials if p.axes > 2}
    assert worst <= 2 + 3 * len(shapes)
    assert sum(map(len, ops(tree))) < tree.factors / 4


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_variable_and_factor_comes_exactly_once(case):
    tree = case.tree
    p = plan(tree)
    assert sorted(np.concatenate([level.order for level in p.levels])) == list(range(len(tree)))
    factors = [op.factors for stage in p.stages for op in stage.ops] + [level.unary for level in p.levels]
    assert sorted(np.concatenate([np.zeros(0, dtype=int), *factors])) == list(range(tree.factors))
    observed = np.concatenate([level.observed for level in p.levels])
    assert sorted(observed[observed >= 0]) == list(range(len(tree.leaves)))
    for stage in p.stages:
        assert sum(g.nodes for g in stage.groups) == p.levels[stage.level].nodes
        assert sum(g.nodes * g.arity for g in stage.groups) == sum(len(op.factors) for op in stage.ops)


# ---------------------------------------------------------------------- the layers are these convolutions


def row_major(grid, arity):
    """Row-major indices of a level's nodes in the order in which a network holds them.

    Parents row-major, and their children position by position: all first children, then all second ones. A level
    further down inherits the order of its parents.
    """
    order = np.zeros(1, dtype=int)
    shape = (1,) * len(grid)
    for steps in arity:
        below = tuple(n * m for n, m in zip(shape, steps, strict=True))
        at = np.stack(np.unravel_index(order, shape))
        order = np.concatenate([
            np.ravel_multi_index(tuple(at * np.array(steps)[:, None] + np.array(offset)[:, None]), below)
            for offset in np.ndindex(*steps)
        ])  # fmt: skip
        shape = below
    assert shape == tuple(grid)
    return order


def to_grid(x, grid, arity):
    """Activations ``(S, n, B)`` in network order as ``(B, S, *grid)``."""
    out = torch.empty_like(x)
    out[:, torch.from_numpy(row_major(grid, arity))] = x
    return out.permute(2, 0, 1).reshape(x.shape[2], x.shape[0], *grid)


REGULAR = {
    "line": lambda tie: hgm.zoo.random_ghm(3, [2, 3, 4], [2, 3, 2], root=3, tie=tie, bound=20.0, seed=1),
    "line of arity 1": lambda tie: hgm.zoo.random_ghm(3, 3, [2, 1, 2], tie=tie, seed=1),
    "grid": lambda tie: hgm.zoo.random_ghm(2, [3, 2], (2, 2), root=4, tie=tie, seed=2),
    "oblong grid": lambda tie: hgm.zoo.random_ghm(3, [3, 2, 4], [(1, 3), (2, 1), (2, 2)], tie=tie, seed=3),
    "log line": lambda tie: hgm.zoo.random_ghm(3, [2, 3, 4], [2, 3, 2], root=3, tie=tie, bound=1e40, seed=4),
    "log grid": lambda tie: hgm.zoo.random_ghm(2, 3, (3, 2), tie=tie, bound=1e40, seed=5),
}


def log_convolution(conv, x, *args, **options):
    """A convolution of numbers given by their logs; exact where their range is that of a float."""
    top = x.max()
    return conv((x - top).exp(), *args, **options).log() + top


@pytest.mark.parametrize("name", REGULAR)
@pytest.mark.parametrize("tie", ["position", "level"])
@pytest.mark.parametrize("trained", [False, True])
def test_every_layer_is_torch_s_convolution_with_the_layer_s_own_weight(name, tie, trained):
    tree = REGULAR[name](tie)
    net = hgm.compile(tree, trainable=trained)
    if trained:
        train(net, tree)
    two = len(tree.grid[-1]) == 2
    conv, transposed = (F.conv2d, F.conv_transpose2d) if two else (F.conv1d, F.conv_transpose1d)
    arity = [stage.ops[0].arity for stage in net.plan.stages]
    generator = torch.Generator().manual_seed(0)
    kernels = set()
    for stage, module in zip(net.plan.stages, reversed(list(net.encoder)), strict=True):
        (layer,) = module.layers()
        assert isinstance(layer, Conv)
        assert layer.kernel == stage.ops[0].kernel
        kernels.add(layer.kernel)
        log = layer.kernel == "log"
        above, below = tree.grid[stage.level] or (1,) * (1 + two), tree.grid[stage.level + 1]
        k, (n, n_below) = int(np.prod(layer.arity)), (int(np.prod(above)), int(np.prod(below)))
        w, kernel = layer.weight(torch.zeros(0, dtype=torch.float64)).detach(), layer.kernel_weight()
        assert kernel.shape == (k * layer.states_out, layer.states_in, *layer.arity)

        x = torch.rand(layer.states_in, n_below, 5, dtype=torch.float64, generator=generator) + 0.01
        q = layer.up(x.log() if log else x, w)  # (k, S, n, B)
        got = torch.stack([to_grid(part, above, arity[: stage.level]) for part in q], 1).flatten(1, 2)
        want = conv(to_grid(x, below, arity[: stage.level + 1]), kernel, stride=layer.arity)
        torch.testing.assert_close(got.exp() if log else got, want, rtol=1e-12, atol=0)

        u = torch.rand(k, layer.states_out, n, 5, dtype=torch.float64, generator=generator) + 0.01
        r = layer.down(u.log() if log else u, x, w).reshape(layer.states_in, n_below, 5)
        got = to_grid(r, below, arity[: stage.level + 1])
        blocks = torch.stack([to_grid(part, above, arity[: stage.level]) for part in u], 1).flatten(1, 2)
        want = transposed(blocks, kernel, stride=layer.arity)
        torch.testing.assert_close(got.exp() if log else got, want, rtol=1e-12, atol=0)
    assert kernels == ({"log"} if name.startswith("log") else {"linear"})


def train(net, tree):
    """A few steps of gradient descent, so that the weights are others."""
    e = random_evidence(tree, 0)
    args, _ = feed(net, tree, e)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05)
    before = net.engine.weights.log_potential.detach().clone()
    for _ in range(3):
        optimiser.zero_grad()
        (-net.log_partition(*args).mean()).backward()
        optimiser.step()
    assert float((net.engine.weights.log_potential.detach() - before).abs().max()) > 1e-3


def test_a_classifier_is_a_stack_of_convolutions_products_and_rescalings():
    """The whole network written with conv2d alone."""
    tree = hgm.zoo.random_ghm(3, [4, 3, 2], (2, 2), root=5, bound=5.0, seed=6)
    net = hgm.compile(tree, "classify")
    x = torch.randn(7, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    h = x.exp()
    for module in net.encoder:
        (layer,) = module.layers()
        q = F.conv2d(h, layer.kernel_weight(), stride=layer.arity)
        h = q.unflatten(1, (4, -1)).prod(1)
        h = h / h.amax(1, keepdim=True)
    prior = torch.from_numpy(np.exp(tree.potential_of(0).log_potential))
    p = h.flatten(1) * prior
    torch.testing.assert_close(net(x), p / p.sum(1, keepdim=True), rtol=1e-12, atol=1e-14)


def test_the_test_of_convolutions_can_fail():
    """Row-major and network order differ, so the helper above matters."""
    assert row_major((4,), [(2,), (2,)]).tolist() == [0, 2, 1, 3]
    assert row_major((2, 4), [(2, 2), (1, 2)]).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


# ---------------------------------------------------------------------- what is printed


def test_a_network_prints_as_a_convnet_or_a_unet():
    tree = hgm.zoo.random_ghm(2, 3, (2, 2), seed=0)
    text = str(hgm.compile(tree, "classify"))
    assert text.startswith("ConvNet(")
    assert text.count("Conv2d(3 -> 3, kernel_size=(2, 2), stride=(2, 2), nodes=") == 2
    assert "nodes=16" in text
    assert "nodes=4" in text
    text = str(hgm.compile(tree))
    assert text.startswith("UNet(")
    assert text.count("Conv2d transposed") == 2
    assert "skips q and h" in text
    assert "Conv1d(" in str(hgm.compile(hgm.zoo.random_ghm(1, 3, 2, seed=0)))
    assert "gathered" in str(hgm.compile(hgm.random_tree(40, seed=0)))
    assert "locally connected" in str(hgm.compile(hgm.zoo.random_ghm(2, 3, 2, tie="none", seed=0)))
    assert "trainable" in str(hgm.compile(tree, trainable=True))
    assert "fixed" in str(hgm.compile(tree))


def test_a_plan_prints_as_a_table_of_stages():
    tree = hgm.zoo.random_ghm(2, [4, 3], (2, 2), root=5, seed=0)
    text = str(plan(tree))
    lines = text.splitlines()
    header = next(line for line in lines if "kernel" in line)
    assert header.split() == ["level", "op", "nodes", "states", "factors", "weights", "flops", "kernel", "skips"]
    below = [line for line in lines if "conv2d" in line]
    assert len(below) == 2
    assert below[0].startswith("2 -> 1")  # in the order of a collect: leaves first
    assert "16 -> 4" in below[0]
    assert "3 -> 4" in below[0]
    assert "16 observed variables" in text
    rows = plan(tree).rows()
    assert [row["weights"] for row in rows] == [4 * 4 * 3, 4 * 5 * 4]
    assert [row["flops"] for row in rows] == [2 * 16 * 4 * 3, 2 * 4 * 5 * 4]
    assert plan(tree).flops == sum(row["flops"] for row in rows)
    assert "no stages" in str(plan(CASES["single"].tree))


def test_weights_are_counted_once_however_often_they_are_used():
    tree = hgm.chain(50, 3, seed=0)
    assert plan(tree).weights == 9 + 3
    assert len(hgm.compile(tree).engine.weights.log_potential) == 12
