"""Schedules of masked diffusion: what they cost, by enumeration and by samples, and that the sizes are best."""

import itertools
import math

import numpy as np
import pytest
import torch
from oracles.tokens import blockwise, conditional, cut, kl, over_orders
from oracles.trees import CASES, build, dense

import hgm
from hgm.diffusion import unmasking
from hgm.diffusion.unmasking import cheapest, schedule

UNTIED = CASES["binary_untied"]  # 4 leaves of 3 states


def leaf_table(case):
    return case.joint.marginal(*(case.tree.names[v] for v in case.tree.leaves))


def copies(depth):
    """Each child is its parent's state with probability 0.9, of two."""
    factors, nodes = [dense(["r"], [0.5, 0.5])], ["r"]
    for _ in range(depth):
        edges = [(parent, parent + side) for parent in nodes for side in "lr"]
        factors += [dense(edge, np.eye(2) * 0.8 + 0.1) for edge in edges]
        nodes = [child for _, child in edges]
    return build(factors)


def compositions(n, steps):
    for ends in itertools.combinations(range(1, n), steps - 1):
        yield np.diff([0, *ends, n]).tolist()


def close(cost, exact):
    return abs(cost.kl - exact) <= 4 * cost.stderr + 1e-12


def entropy_left(P, j):
    """The mean entropy of a symbol given j others, over all choices, in nats."""
    found = []
    for known in itertools.combinations(range(P.ndim), j):
        for v in set(range(P.ndim)) - set(known):
            c = conditional(P, known, v)
            found.append(-(P[P > 0] * np.log(c[P > 0])).sum())
    return np.mean(found)


@pytest.mark.parametrize("name", ["binary_untied", "joint_table", "rhm", "prior"])
def test_h_is_the_mean_entropy_of_a_hidden_leaf(name):
    P = leaf_table(CASES[name])
    found = schedule(CASES[name].tree, 1, draws=2048)
    np.testing.assert_allclose(found.h, [entropy_left(P, j) for j in range(P.ndim)], atol=0.04)
    assert found.h[0] == pytest.approx(entropy_left(P, 0), abs=1e-12)
    assert found.entropy == pytest.approx(-(P[P > 0] * np.log(P[P > 0])).sum(), abs=0.05)


@pytest.mark.parametrize("sizes", [[4], [2, 2], [1, 3], [3, 1], [1, 1, 2]])
def test_in_random_order_it_is_the_mean_over_orders_which_bounds_the_samplers_own(sizes):
    P = leaf_table(UNTIED)
    laws = over_orders(P, sizes)
    mean, own = np.mean([kl(P, q) for q in laws]), kl(P, np.mean(laws, axis=0))
    cost = schedule(UNTIED.tree, 2, draws=8192).cost(sizes)
    assert close(cost, mean) and cost.stderr < 0.1 * mean + 1e-3
    assert own < mean or len(sizes) == 1


def test_the_mean_over_orders_is_told_from_the_samplers_own():
    case = copies(2)
    P = leaf_table(case)
    laws = over_orders(P, [2, 2])
    mean, own = np.mean([kl(P, q) for q in laws]), kl(P, np.mean(laws, axis=0))
    low, high = schedule(case.tree, 2).cost([2, 2]).interval
    assert own < low < mean < high


@pytest.mark.parametrize("ordered", [False, True])
def test_standard_errors_are_as_large_as_errors_are(ordered):
    P, names = leaf_table(UNTIED), [UNTIED.tree.names[v] for v in UNTIED.tree.leaves]
    exact = kl(P, blockwise(P, [[0, 1], [2, 3]])) if ordered else np.mean([kl(P, q) for q in over_orders(P, [2, 2])])
    costs = [
        schedule(UNTIED.tree, 2, order=names if ordered else None, draws=64, seed=seed).cost([2, 2])
        for seed in range(60)
    ]
    off = np.array([(cost.kl - exact) / cost.stderr for cost in costs])
    assert 0.75 < off.std() < 1.3 and abs(off.mean()) < 0.5
    low, high = costs[0].interval
    assert (high - low) / costs[0].stderr == pytest.approx(4) and (low + high) / 2 == pytest.approx(costs[0].kl)


def test_how_draws_are_parted_changes_nothing(monkeypatch):
    names = [UNTIED.tree.names[v] for v in UNTIED.tree.leaves]
    whole = [schedule(UNTIED.tree, 2, order=order, draws=96) for order in (None, names)]
    monkeypatch.setattr(unmasking, "SLICE", 100)  # rows of 12 numbers
    for order, found in zip((None, names), whole, strict=True):
        np.testing.assert_allclose(schedule(UNTIED.tree, 2, order=order, draws=96).h, found.h, rtol=1e-12)
    assert schedule(UNTIED.tree, 2, order=names, draws=65).kl == whole[1].kl  # rounded up to a multiple of 32


@pytest.mark.parametrize("sizes", [[4], [2, 2], [1, 2, 1]])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (2, 0, 3, 1)])
def test_in_a_fixed_order_it_is_the_kl(order, sizes):
    P, names = leaf_table(UNTIED), [UNTIED.tree.names[v] for v in UNTIED.tree.leaves]
    found = schedule(UNTIED.tree, 2, order=[names[i] for i in order], draws=4096)
    assert found.positions == order and found.order == tuple(names[i] for i in order)
    assert close(found.cost(sizes), kl(P, blockwise(P, cut(order, sizes))))


def test_data_scored_along_random_orders_give_it():
    tree = copies(3).tree
    rows, rng = 1500, np.random.default_rng(0)
    samples = hgm.infer(tree).sample(rows, generator=torch.Generator().manual_seed(5))
    x, order = samples.leaves.numpy(), rng.permuted(np.tile(np.arange(8), (rows, 1)), axis=1)
    names = [tree.names[v] for v in tree.leaves]
    log_q = np.zeros(rows)
    for start, end in ((0, 3), (3, 5), (5, 8)):
        seen = [np.where(order.argsort(1)[:, v] < start, x[:, v], -1) for v in range(8)]
        given = hgm.infer(tree, dict(zip(names, seen, strict=True)))
        for v in range(8):
            p = given[names[v]].numpy()[np.arange(rows), x[:, v]]
            now = (start <= order.argsort(1)[:, v]) & (order.argsort(1)[:, v] < end)
            log_q += np.where(now, np.log(p), 0)
    log_p = hgm.infer(tree, dict(zip(names, x.T, strict=True))).log_partition - hgm.infer(tree).log_partition
    gap = log_p.numpy() - log_q
    cost = schedule(tree, 3).cost([3, 2, 3])
    assert abs(gap.mean() - cost.kl) < 3 * math.hypot(gap.std() / math.sqrt(rows), cost.stderr)
    assert cost.kl > 8 * cost.stderr


def test_the_sizes_are_best_of_all():
    rng = np.random.default_rng(0)
    for n in range(1, 8):
        cost = np.where(np.arange(n)[:, None] < np.arange(n + 1), rng.random((n, n + 1)), np.inf)
        for steps in range(1, n + 1):
            found = cheapest(cost, steps)
            assert len(found) == steps and sum(found) == n and min(found) >= 1

            def total(sizes, cost=cost):
                ends = np.cumsum(sizes)
                return sum(cost[end - size, end] for end, size in zip(ends, sizes, strict=True))

            assert total(found) == min(total(sizes) for sizes in compositions(n, steps))


@pytest.mark.parametrize("steps", [2, 3, 4, 6])
def test_in_random_order_the_sizes_are_as_good_as_the_best(steps):
    """Leaves of two kinds: five are one symbol, three are each for itself."""
    case = build(
        [dense(["h", f"x{i}"], np.eye(2) * 0.9 + 0.05) for i in range(5)] + [dense([f"y{i}"], [1, 2]) for i in range(3)]
    )
    P = leaf_table(case)
    h = np.array([entropy_left(P, j) for j in range(8)])

    def exact(sizes):
        ends = np.cumsum(sizes)
        return sum(size * h[end - size] for end, size in zip(ends, sizes, strict=True)) - h.sum()

    best = min(map(exact, compositions(8, steps)))
    found = schedule(case.tree, steps, draws=4096)
    assert exact(found.sizes) < best + 0.005 < exact([9 - steps] + [1] * (steps - 1))
    assert close(found.best, exact(found.sizes))


def test_a_fixed_order_is_cut_where_leaves_that_tell_of_each_other_part():
    same = np.array([[0.95, 0.05], [0.05, 0.95]])
    case = build([dense(pair, same) for pair in [("x", "a"), ("x", "b"), ("y", "c"), ("y", "d"), ("y", "e")]])
    tree = case.tree
    found = schedule(tree, 3, order=["a", "c", "b", "d", "e"])
    assert found.sizes == (2, 2, 1) and abs(found.kl) < 0.02 < 0.2 < found.cost([3, 1, 1]).kl


@pytest.mark.parametrize("order", [None, "given"])
def test_one_leaf_a_step_costs_nothing(order):
    tree = CASES["quad_2d"].tree
    names = None if order is None else [tree.names[v] for v in reversed(tree.leaves)]
    found = schedule(tree, 8, order=names, draws=64)
    assert found.sizes == (1,) * 8 and found.kl == 0 and found.equal.kl == 0 and found.best.stderr == 0


def test_best_sizes_beat_equal_ones_where_leaves_differ():
    """One leaf decides all others: it is drawn by itself, whichever comes first."""
    case = build([dense(["h", f"x{i}"], np.eye(2) * 0.999 + 0.0005) for i in range(8)])
    found = schedule(case.tree, 2)
    assert found.sizes == (1, 7) and found.kl < 0.1 * found.equal.kl


def test_of_many_leaves_h_is_interpolated(monkeypatch):
    tree = hgm.random_ghm(depth=4, states=2, bound=5, seed=1)
    whole = schedule(tree, 4)
    monkeypatch.setattr(unmasking, "KNOTS", 8)
    some = schedule(tree, 4)
    knots = [0, 1, 2, 5, 7, 10, 12, 15]
    np.testing.assert_allclose(some.h[knots], whole.h[knots], rtol=1e-12)
    np.testing.assert_allclose(some.h, np.interp(range(16), knots, whole.h[knots]), rtol=1e-12)
    assert some.equal.kl == pytest.approx(whole.equal.kl, abs=2 * whole.equal.stderr)


def test_it_is_what_the_seed_says_and_prints_as_a_table():
    tree = UNTIED.tree
    one, same, other = (schedule(tree, 2, seed=seed, draws=64) for seed in (0, 0, 1))
    assert one.kl == same.kl != other.kl
    assert one.cost(one.sizes) == one.best and one.interval == one.best.interval
    low, high = one.interval
    assert low < one.kl < high
    text = str(one)
    assert "mean over orders" in text and text.count("\n") == 4
    rows = [line.split() for line in text.splitlines()[3:]]
    assert [row[:3] for row in rows] == [["1", "0", str(one.sizes[0])], ["2", str(one.sizes[0]), str(one.sizes[1])]]
    assert sum(float(row[3]) for row in rows) == pytest.approx(one.kl, abs=2e-4)
    thirds = schedule(tree, 3, draws=64)
    assert thirds.equal == thirds.cost([1, 1, 2])
    names = [tree.names[v] for v in tree.leaves]
    assert "KL(p || q): " in str(schedule(tree, 4, order=names, draws=2))


def test_wrong_arguments_are_refused():
    tree = UNTIED.tree
    names = [tree.names[v] for v in tree.leaves]
    inner = tree.names[0]
    for kwargs, message in [
        ({"steps": 0}, "at least 1"),
        ({"steps": 5}, "at most 4"),
        ({"steps": 2.0}, "whole number"),
        ({"draws": 1}, "draws"),
        ({"seed": -1}, "seed"),
        ({"order": [*names, names[0]]}, "twice"),
        ({"order": names[:3]}, f"lacks {names[3]}"),
        ({"order": [*names[:3], "nobody"]}, "nobody"),
        ({"order": [*names, inner]}, "must name leaves"),
        ({"order": "x0"}, "list of names"),
    ]:
        with pytest.raises(hgm.HgmError, match=message):
            schedule(tree, **({"steps": 2} | kwargs))
    with pytest.raises(hgm.HgmError):
        schedule("tree", 2)
    found = schedule(tree, 2, draws=2)
    for sizes in ([2], [2, 3], [4, 0], [2.0, 2.0], 4):
        with pytest.raises(hgm.BadSpec, match="size"):
            found.cost(sizes)
