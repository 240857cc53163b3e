"""Every kind of ablation is the best function of what is left to see: held against enumeration of the joint law."""

import copy
import itertools
import pickle
import re

import networkx as nx
import numpy as np
import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.ablation.window import windows

GRIDS = [name for name, case in CASES.items() if case.tree.grid is not None]
ROWS, SIGMA = 3, 0.7


def values_of(case):
    return np.linspace(-1, 1.4, int(case.tree.cardinality[case.tree.leaves].max()))


def noisy(case, seed=0):
    """``(ROWS, *leaf shape)`` noisy samples."""
    sample = hgm.infer(case.tree).sample(ROWS, generator=torch.Generator().manual_seed(seed)).leaves
    return hgm.Gaussian(values_of(case)).observe(
        sample, torch.full((ROWS,), SIGMA, dtype=torch.float64), generator=torch.Generator().manual_seed(seed)
    )


def leaves(case):
    return [case.tree.names[int(v)] for v in case.tree.leaves]


def likelihood(case, name, z, sigma=SIGMA):
    """Of the states of a leaf, with the Gaussian's constant."""
    return np.exp(-((z - values_of(case)[: case.card(name)]) ** 2) / (2 * sigma**2)) / sigma


def told(case, z, names):
    """The joint law given the observations ``(n,)`` of some leaves."""
    row = dict(zip(leaves(case), z.flatten().tolist(), strict=True))
    return case.joint.given({name: likelihood(case, name, row[name]) for name in names})


def posteriors(net, z, sigma=SIGMA):
    """``(n, B, S)``"""
    return net(z, sigma, outputs="posterior").flatten(2).permute(2, 0, 1).numpy()


def parents(case):
    """The parent of every variable but the roots, by a search of the factor graph from the tree's roots."""
    graph = nx.Graph()
    graph.add_nodes_from(case.names)
    for i, (scope, _) in enumerate(case.factors):
        graph.add_edges_from((("factor", i), name) for name in scope)
    above = {}
    for v in case.tree.roots:
        for child, parent in nx.bfs_predecessors(graph, case.tree.names[int(v)]):
            above[child] = above[parent] if isinstance(parent, tuple) else parent
            above.setdefault(parent, parent)
    return {name: above.get(name, name) for name in case.names}, graph


def ancestor(case, name, level):
    """The ancestor at a level, or the leaf itself if it is above that."""
    up, _ = parents(case)
    line = [name]
    while up[line[-1]] != line[-1]:
        line.append(up[line[-1]])
    return line[::-1][min(level, len(line) - 1)]


def check(case, net, expected):
    """Posteriors and means of a network against ``expected(row of z, name of a leaf)``, a law of the leaf."""
    z = noisy(case)
    p, mean = posteriors(net, z), net(z, SIGMA).flatten(1)
    for i, name in enumerate(leaves(case)):
        for b in range(ROWS):
            want = expected(z[b], name)
            np.testing.assert_allclose(p[i, b, : case.card(name)], want, atol=1e-9)
            assert (p[i, b, case.card(name) :] == 0).all()
            np.testing.assert_allclose(mean[b, i], want @ values_of(case)[: case.card(name)], atol=1e-9)


def ablated(case, kind, **given):
    return hgm.ablate(case.tree, kind, channel=hgm.Gaussian(values_of(case)), **given).double()


# ---------------------------------------------------------------------- what each kind gives


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_a_window_gives_the_posterior_of_what_is_inside(name, radius):
    case = CASES[name]
    places = dict(zip(leaves(case), np.ndindex(*case.tree.leaf_shape), strict=True))

    def expected(z, leaf):
        near = [u for u in places if all(abs(a - b) <= radius for a, b in zip(places[u], places[leaf], strict=True))]
        return told(case, z, near).marginal(leaf)

    check(case, ablated(case, "window", radius=radius), expected)


@pytest.mark.parametrize("name", CASES)
def test_a_block_gives_the_posterior_of_the_leaves_below_one_node(name):
    case = CASES[name]
    for level in range(case.tree.depth + 1):
        above = {leaf: ancestor(case, leaf, level) for leaf in leaves(case)}

        def expected(z, leaf, above=above):
            return told(case, z, [u for u in above if above[u] == above[leaf]]).marginal(leaf)

        check(case, ablated(case, "block", level=level), expected)


@pytest.mark.parametrize("name", CASES)
def test_silent_skips_leave_the_belief_about_the_node_above(name):
    case = CASES[name]
    for level in range(case.tree.depth + 1):

        def expected(z, leaf, level=level):
            above = ancestor(case, leaf, level)
            posterior = told(case, z, leaves(case))
            if above == leaf:
                return posterior.marginal(leaf)
            prior = case.joint.marginal(above, leaf)
            with np.errstate(invalid="ignore"):
                given = np.nan_to_num(prior / prior.sum(1, keepdims=True))
            return posterior.marginal(above) @ given

        check(case, ablated(case, "skips", level=level), expected)


@pytest.mark.parametrize("name", CASES)
def test_without_its_own_observation_a_leaf_has_those_of_the_others(name):
    case = CASES[name]
    check(case, ablated(case, "own"), lambda z, leaf: told(case, z, set(leaves(case)) - {leaf}).marginal(leaf))


@pytest.mark.parametrize("name", CASES)
def test_the_blind_denoiser_weighs_the_levels_by_what_it_sees(name):
    case, levels, weights = CASES[name], [0.3, SIGMA, 2.0], [1.0, 2.0, 1.0]

    def expected(z, leaf):
        row = dict(zip(leaves(case), z.flatten().tolist(), strict=True))
        given = [case.joint.given({u: likelihood(case, u, row[u], s) for u in row}) for s in levels]
        mass = np.array(weights) * np.exp([joint.log_z for joint in given])
        return sum(share * joint.marginal(leaf) for share, joint in zip(mass / mass.sum(), given, strict=True))

    check(case, ablated(case, "blind", noise=levels, weights=weights), expected)


@pytest.mark.parametrize("name", CASES)
def test_not_to_be_told_the_label_leaves_the_optimum(name):
    case = CASES[name]
    check(case, ablated(case, "label"), lambda z, leaf: told(case, z, leaves(case)).marginal(leaf))


def test_another_tree_is_taken_for_the_right_one():
    wrong = CASES["binary_untied"]
    right = hgm.broadcast(1, wrong.card(leaves(wrong)[0]), len(leaves(wrong)), eps=0.1)
    net = hgm.ablate(right, "tree", other=wrong.tree, channel=hgm.Gaussian(values_of(wrong))).double()
    check(wrong, net, lambda z, leaf: told(wrong, z, leaves(wrong)).marginal(leaf))
    assert hgm.compare(net, right, noise=[0.5], n=10).levels[0].excess > 0


def test_another_tree_may_call_its_leaves_otherwise():
    tree = hgm.broadcast(2, 2, 2, eps=0.1)
    other = hgm.ghm([hgm.Level(4, 2, name="leaf")], 2, seed=0)
    assert hgm.compare(hgm.ablate(tree, "tree", other=other), tree, noise=[1.0], n=10).levels[0].excess > 0


@pytest.mark.parametrize(
    ("channel", "noise", "hidden"),
    [
        (hgm.Erasure(), (torch.rand(4, 4, generator=torch.Generator().manual_seed(1)) < 0.6,), None),
        (hgm.Flip(), (0.2,), 0.2 / 2),
    ],
)
def test_symbols_give_posteriors(channel, noise, hidden):
    """Erased leaves say nothing, flipped ones what their probabilities say."""
    tree = hgm.random_ghm(2, 3, 2, bound=4, seed=3)
    x = torch.randint(0, 3, (4, 4), generator=torch.Generator().manual_seed(0))
    net = hgm.ablate(tree, "window", radius=1, channel=channel).double()
    p = net(x, *noise)
    assert p.shape == (4, 3, 4)
    for v in range(4):
        near = [u for u in range(4) if abs(u - v) <= 1]
        for b in range(4):
            evidence = {}
            for u in near:
                if hidden is None and not noise[0][b, u]:
                    continue
                like = np.full(3, 0.0 if hidden is None else hidden)
                like[x[b, u]] = 1.0 if hidden is None else 0.8
                evidence[tree.names[int(tree.leaves[u])]] = hgm.Likelihood(like)
            want = hgm.infer(tree, evidence)[tree.names[int(tree.leaves[v])]]
            torch.testing.assert_close(p[b, :, v], want, atol=1e-9, rtol=0)


def test_a_blind_denoiser_of_symbols_weighs_flips():
    tree, levels = hgm.random_ghm(2, 3, 2, bound=4, seed=3), [0.05, 0.5]
    x = torch.randint(0, 3, (5, 4), generator=torch.Generator().manual_seed(0))
    net = hgm.ablate(tree, "blind", noise=levels, channel=hgm.Flip()).double()
    each = hgm.compile(tree, "posterior", channel=hgm.Flip()).double()
    log = torch.stack([each.log_partition(x, eps) for eps in levels])
    want = sum(share[:, None, None] * each(x, eps) for share, eps in zip(log.softmax(0), levels, strict=True))
    torch.testing.assert_close(net(x, 0.3), want, atol=1e-12, rtol=0)


# ---------------------------------------------------------------------- how they hang together


def excess(net, tree, noise=(0.5, 2.0), **given):
    return [row.excess for row in hgm.compare(net, tree, noise=list(noise), n=40, **given).levels]


def test_the_widest_window_the_largest_block_and_all_skips_lack_nothing():
    tree = hgm.random_ghm(2, 3, (2, 2), bound=6, seed=0)
    for kind, given in (("window", {"radius": 3}), ("block", {"level": 0}), ("skips", {"level": 2})):
        assert hgm.compare(hgm.ablate(tree, kind, **given), tree, noise=[0.5, 2.0], n=20).zero, kind


def test_who_sees_more_is_never_worse():
    tree = hgm.broadcast(3, 3, (2, 2), eps=0.2)
    for kind, name, order in (("window", "radius", [0, 1, 2, 3, 7]), ("block", "level", [3, 2, 1, 0])):
        found = [excess(hgm.ablate(tree, kind, **{name: value}), tree, [1.0]) for value in order]
        assert all(a > b for a, b in itertools.pairwise(found)), kind


def test_a_window_of_one_is_a_block_of_one():
    tree = hgm.broadcast(3, 3, (2, 2), eps=0.2)
    window, block = hgm.ablate(tree, "window", radius=0), hgm.ablate(tree, "block", level=3)
    z = torch.randn(4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(window(z, 0.5), block(z, 0.5), atol=1e-12, rtol=0)


def test_a_receptive_field_is_the_window():
    tree = hgm.broadcast(4, 2, (2, 2), eps=0.1)
    for radius in (0, 1, 2):
        found = hgm.receptive_field(hgm.ablate(tree, "window", radius=radius), inputs=2)
        assert found.extent == (2 * radius + 1,) * 2 and found.size == (2 * radius + 1) ** 2
    assert hgm.receptive_field(hgm.ablate(tree, "block", level=3), inputs=2).extent == (2, 2)
    assert hgm.receptive_field(hgm.ablate(tree, "own"), inputs=2).energy[8, 8] < 1e-25  # zero to rounding


def test_what_the_label_is_worth_is_seen_by_comparing_with_who_has_it():
    tree = hgm.broadcast(3, 4, (2, 2), eps=0.2)
    net = hgm.ablate(tree, "label")
    assert hgm.compare(net, tree, noise=[2.0], n=20).zero
    assert excess(net, tree, [2.0], given=["label"])[0] > 0.001


# ---------------------------------------------------------------------- what they cost in nats


def test_blocks_cost_the_sum_of_their_entropies_minus_that_of_all():
    """The exact denoiser of the product of the blocks' marginals: KL(p || q) = sum of block entropies - H(x)."""
    tree = hgm.random_ghm(2, 3, 2, bound=20, seed=2)
    channel = hgm.Gaussian([-1.0, 0.3, 1.0])
    states = np.indices((3,) * 4).reshape(4, -1).T
    names = [tree.names[int(v)] for v in tree.leaves]
    seen = [hgm.log_partition(tree, dict(zip(names, row.tolist(), strict=True))) for row in states]
    p = np.exp(np.array(seen) - float(hgm.log_partition(tree)))
    entropy = -(p * np.log(p)).sum()
    for level, parts in ((1, [(0, 1), (2, 3)]), (2, [(0,), (1,), (2,), (3,)])):
        own = 0.0
        for part in parts:
            marginal = p.reshape((3,) * 4).sum(tuple(set(range(4)) - set(part)))
            own -= (marginal * np.log(marginal)).sum()
        gap = hgm.compare(hgm.ablate(tree, "block", level=level, channel=channel), tree, n=4000)
        assert gap.nats.low - 1e-3 < own - entropy < gap.nats.high + 1e-3


def test_an_error_that_does_not_vanish_with_the_noise_costs_no_number_of_nats():
    tree = hgm.broadcast(2, 2, 2, eps=0.1)
    for kind, given in (("own", {}), ("skips", {"level": 1})):
        gap = hgm.compare(hgm.ablate(tree, kind, **given), tree, n=20)
        assert gap.nats is None and "no finite extra code length" in str(gap)
        assert gap.levels[-1].excess > 1e-3
    assert hgm.compare(hgm.ablate(tree, "window", radius=0), tree, n=20).nats.value > 0


def test_bounds_are_said_to_be_bounds():
    tree = hgm.broadcast(2, 2, 2, eps=0.1)
    given = {"window": {"radius": 0}, "block": {"level": 1}, "blind": {"noise": [1.0]}, "skips": {"level": 1}}
    given |= {"tree": {"other": tree}, "label": {}, "own": {}}
    bound = {kind: hgm.ablate(tree, kind, **more).ablation.bound for kind, more in given.items()}
    assert {kind for kind, is_bound in bound.items() if not is_bound} == {"skips", "tree"}


# ---------------------------------------------------------------------- they are networks


def every_kind(tree):
    given = {"window": {"radius": 1}, "block": {"level": 1}, "blind": {"noise": [0.5, 1.0, 2.0]}, "skips": {"level": 1}}
    given |= {"tree": {"other": hgm.random_ghm(2, 3, (2, 2), bound=3, seed=9)}, "label": {}, "own": {}}
    return {kind: hgm.ablate(tree, kind, **more) for kind, more in given.items()}


@pytest.fixture(scope="module")
def tree():
    return hgm.random_ghm(2, 3, (2, 2), bound=6, seed=0)


@pytest.fixture(scope="module")
def nets(tree):
    return every_kind(tree)


KINDS = ["window", "block", "blind", "skips", "tree", "label", "own"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_stand_for_themselves(nets, kind):
    z = torch.randn(7, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.linspace(0.3, 2, 7, dtype=torch.float64)
    together = nets[kind](z, sigma)
    alone = torch.cat([nets[kind](z[i : i + 1], sigma[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
    assert nets[kind](z[:0], sigma[:0]).shape == (0, 4, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_slices_make_no_difference(nets, kind, monkeypatch):
    z = torch.randn(9, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = nets[kind](z, 0.7)
    monkeypatch.setattr("hgm.networks.running.SLICE", 2 * nets[kind].row_size)
    torch.testing.assert_close(nets[kind](z, 0.7), whole, atol=1e-12, rtol=0)


def test_windows_in_parts_are_the_same(tree, monkeypatch):
    z = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = hgm.ablate(tree, "window", radius=1)
    monkeypatch.setattr("hgm.ablation.window.SLICE", 3 * len(tree.leaves) * 5)
    parts = hgm.ablate(tree, "window", radius=1)
    assert parts.together == 5 and whole.together == 16
    torch.testing.assert_close(parts(z, 0.7), whole(z, 0.7), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_what_users_have(nets, kind):
    z = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    want = nets[kind](z.double(), 0.5)
    for given in (z.numpy(), z.tolist(), z.double().requires_grad_()):
        torch.testing.assert_close(nets[kind](given, 0.5).double().detach(), want, atol=1e-5, rtol=0)
    half = nets[kind](z.half(), 0.5)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.double(), want, atol=2e-2, rtol=0)
    for other in (copy.deepcopy(nets[kind]), pickle.loads(pickle.dumps(nets[kind]))):
        torch.testing.assert_close(other(z, 0.5), nets[kind](z, 0.5), atol=1e-6, rtol=0)
        assert other.ablation == nets[kind].ablation


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_derivatives(nets, kind):
    z = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(nets[kind](z, 0.7)[:, 1, 2].sum(), z)
    step = torch.zeros_like(z)
    step[:, 1, 1] = 1e-5
    with torch.no_grad():
        difference = (nets[kind](z + step, 0.7) - nets[kind](z - step, 0.7))[:, 1, 2] / 2e-5
    torch.testing.assert_close(slope[:, 1, 1], difference, atol=1e-7, rtol=0)


def test_windows_know_of_holes(tree):
    net = hgm.ablate(tree, "window", radius=1, channel=hgm.Missing(hgm.Gaussian([0.0, 1.0, 2.0])))
    z = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z[0, 1, 1] = torch.nan
    full = hgm.ablate(tree, "window", radius=1, channel=hgm.Gaussian([0.0, 1.0, 2.0]))
    found, want = net(z, 0.5), full(z.nan_to_num(), 0.5)
    assert torch.equal(found[1], want[1]) and found[0].isfinite().all()
    assert torch.equal(found[0, 3], want[0, 3]) and not torch.isclose(found[0, 1, 1], want[0, 1, 1])


def test_a_blind_denoiser_of_vectors_and_holes_has_the_right_constants():
    tree, levels = hgm.broadcast(1, 2, 2, eps=0.2), [0.5, 2.0]
    values = torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    channel = hgm.Missing(hgm.Gaussian(values))
    z = torch.tensor([[[0.3, float("nan")], [1.1, float("nan")]]], dtype=torch.float64)  # (B, k, n): one leaf is a hole
    net = hgm.ablate(tree, "blind", noise=levels, channel=channel)
    apart = ((z[0, :, 0] - values) ** 2).sum(1).numpy()
    like = np.stack([np.exp(-apart / (2 * s**2)) / s**2 for s in levels])  # (s, state)
    mass = (like * 0.5).sum(1)
    first = (mass / mass.sum()) @ (like * 0.5 / mass[:, None])
    torch.testing.assert_close(net(z, 1.0)[0, :, 0], torch.from_numpy(first @ values.numpy()), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_diffusion_samples_with_it(nets, tree, kind):
    net = nets[kind]
    found = hgm.diffusion.sample(net, n=2, steps=3, generator=torch.Generator().manual_seed(0))
    assert found.shape == (2, 4, 4) and found.isfinite().all()


@pytest.mark.export
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_exported(nets, kind, tmp_path):
    hgm.export(nets[kind], tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    z, sigma = torch.randn(5, 4, 4), torch.full((5,), 0.6)
    torch.testing.assert_close(program(z, sigma), nets[kind](z, sigma), atol=1e-5, rtol=0)


# ---------------------------------------------------------------------- what is refused

TREE = hgm.broadcast(2, 2, 2, eps=0.1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(kind="windows"), "kind"),
        (dict(kind="window"), "what kind='window' leaves out is told by radius="),
        (dict(kind="window", radius=-1), "radius must be"),
        (dict(kind="window", radius=1.5), "radius must be"),
        (dict(kind="window", radius=1, level=2), "told by radius=; got level=2"),
        (dict(kind="own", radius=1), "told by nothing more; got radius=1"),
        (dict(kind="block", level=3), "level must be"),
        (dict(kind="skips", level=-1), "level must be"),
        (dict(kind="blind", noise=[]), "noise is a list of positive numbers; got an empty one"),
        (dict(kind="blind", noise=[0.5, 0.0]), "noise is a list of positive numbers"),
        (dict(kind="blind", noise=[0.5], weights=[1, 2]), "weights are probabilities"),
        (dict(kind="blind", noise=[0.5], weights=[0.0]), "weights are probabilities"),
        (dict(kind="blind", noise=[0.5], channel=hgm.Erasure()), "what is erased can be seen"),
        (dict(kind="blind", noise=[2.0], channel=hgm.Flip()), "noise is a list of probabilities"),
        (dict(kind="tree", other=hgm.broadcast(3, 2, 2, eps=0.1)), "the other tree has leaves (8,), and the tree (4,)"),
        (dict(kind="window", radius=1, tree=hgm.chain(5)), "lie on none"),
        (dict(kind="window", radius=1, channel=hgm.Gaussian([1.0, 2.0, 3.0])), "3"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(given, says):
    with pytest.raises(hgm.HgmError, match=re.escape(says)) as error:
        hgm.ablate(**{"tree": TREE} | given)
    assert "\n" not in str(error.value)


def test_impossible_evidence_names_its_rows():
    tree = hgm.ghm([hgm.Level(3, 2, [[1.0, 0.0], [0.0, 1.0]])], 2)
    x = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1]])
    keep = torch.ones(4, 3, dtype=torch.bool)
    for kind, given in (("window", {"radius": 1}), ("block", {"level": 0})):
        net = hgm.ablate(tree, kind, channel=hgm.Erasure(), **given)
        with pytest.raises(hgm.ImpossibleEvidence) as error:
            net(x, keep)
        assert error.value.rows == (1, 3)
    blind = hgm.ablate(tree, "blind", noise=[1.0, 1.0], channel=hgm.Flip())  # every symbol is another one
    with pytest.raises(hgm.ImpossibleEvidence) as error:
        blind(x, 1.0)
    assert error.value.rows == (1, 3)
    sometimes = hgm.ablate(tree, "blind", noise=[0.1, 1.0], weights=[0.3, 0.7], channel=hgm.Flip()).double()
    want = hgm.ablate(tree, "blind", noise=[0.1, 1.0 - 1e-12], weights=[0.3, 0.7], channel=hgm.Flip()).double()
    torch.testing.assert_close(sometimes(x, 1.0), want(x, 1.0))  # impossible at one level: so it was the other
    apart = hgm.ablate(tree, "window", radius=0, channel=hgm.Erasure())(x, keep)
    assert torch.equal(apart.argmax(1), x)  # alone, nothing contradicts


def test_what_it_does_not_have_is_said(nets, tree, tmp_path):
    z = torch.zeros(1, 4, 4)
    with pytest.raises(hgm.BadSpec, match="no output 'log_partition': it lacks what is outside of a window of 3x3"):
        nets["window"].log_partition(z, 1.0)
    with pytest.raises(hgm.BadSpec, match="ablate a tree"):
        nets["window"](z, 1.0, log_potentials={tree.scope_names(0): torch.zeros(tree.potential_of(0).shape)})
    with pytest.raises(hgm.BadSpec, match="a file holds a network that"):
        hgm.save_network(nets["window"], tmp_path / "net.safetensors")
    with pytest.raises(hgm.BadEvidence, match="a scale besides the noise"):
        nets["blind"](z, 1.0, 0.5)


def test_windows_are_boxes():
    seen = windows(hgm.broadcast(2, 2, (2, 2), eps=0.1), 1).reshape(4, 4, 4, 4)
    assert seen[0, 0].sum() == 4 and seen[1, 1].sum() == 9 and seen[0, 3, 1, 2] and not seen[0, 3, 2, 3]


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_compiled_as_one_graph(nets, kind):
    z, sigma = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0.4, 0.7, 2.0])
    compiled = torch.compile(nets[kind], fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(z, sigma), nets[kind](z, sigma), atol=1e-6, rtol=0)
