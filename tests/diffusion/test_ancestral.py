"""Ancestral samplers of discrete data: their laws against enumeration, and that they refuse what is no denoiser."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from oracles.tokens import blockwise, chain, conditional, cut, in_time, kl, over_orders, reverse_kernel
from oracles.trees import CASES, build, dense
from scipy.stats import chisquare

import hgm
from hgm.diffusion.ancestral import leave_one_out, unflip, unflip_kernel, unmask, unmask_in_time
from hgm.diffusion.unmasking import schedule

ROWS = 20_000


def copies(states=2):
    """4 leaves below two nodes below a root, each of which mostly is its parent's state."""
    keep = np.eye(states) * 0.7 + 0.1 * (np.arange(states)[:, None] <= np.arange(states)) + 0.1
    edges = [("r", "a"), ("r", "b"), ("a", "x0"), ("a", "x1"), ("b", "x2"), ("b", "x3")]
    return build([dense(edge, keep) for edge in edges])


def leaf_table(case):
    return case.joint.marginal(*(case.tree.names[v] for v in case.tree.leaves))


def net_of(case, channel):
    return hgm.compile(case.tree, "posterior", channel=channel, query="leaves").double()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def last(steps):
    *_, x = steps
    return x


def fits(x, law):
    """The p-value of samples; 0 if one is impossible."""
    counts = np.zeros(law.shape)
    np.add.at(counts, tuple(x.flatten(1).T.numpy()), 1)
    possible = law > 1e-14
    if counts[~possible].any():
        return 0.0
    return chisquare(counts[possible], len(x) * law[possible] / law[possible].sum()).pvalue


def hidden(rows=ROWS, shape=(4,)):
    return torch.full((rows, *shape), -1)


def kept(t, states):
    """The matrix of a symbol that is kept with probability t, else drawn anew."""
    return t * np.eye(states) + (1 - t) / states


COPIES, RHM, UNTIED = copies(), CASES["rhm"], CASES["binary_untied"]


@pytest.mark.parametrize("case", [COPIES, RHM, UNTIED], ids=["copies", "rhm", "binary_untied"])
def test_one_symbol_a_step_is_exact(case):
    P, net = leaf_table(case), net_of(case, hgm.Erasure())
    x = last(unmask(net, hidden(), [1, 1, 1, 1], generator=seeded()))
    assert fits(x, P) > 1e-3
    assert fits(last(unmask(net, hidden(), [4], generator=seeded())), P) < 1e-6 or case is UNTIED


@pytest.mark.parametrize("sizes", [[2, 2], [1, 3], [3, 1], [4]])
def test_the_law_is_the_mean_over_orders(sizes):
    P, net = leaf_table(COPIES), net_of(COPIES, hgm.Erasure())
    x = last(unmask(net, hidden(), sizes, generator=seeded()))
    assert fits(x, np.mean(over_orders(P, sizes), axis=0)) > 1e-3
    assert fits(x, P) < 1e-6


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_a_schedules_order_is_followed(order):
    P, tree = leaf_table(COPIES), COPIES.tree
    plan = schedule(tree, 2, order=[tree.names[tree.leaves[i]] for i in order])
    steps = unmask(net_of(COPIES, hgm.Erasure()), hidden(), [1, 3], order=plan.positions, generator=seeded())
    first, x = steps
    assert (first[:, order[0]] >= 0).all() and (first[:, order[1:]] == -1).all()
    assert fits(x, blockwise(P, cut(order, [1, 3]))) > 1e-3


@pytest.mark.parametrize("times", [[1, 0], [1, 0.5, 0], [1, 0.6, 0.3, 0]])
def test_in_time_each_symbol_is_revealed_by_itself(times):
    P, net = leaf_table(COPIES), net_of(COPIES, hgm.Erasure())
    states = list(unmask_in_time(net, hidden(), times, generator=seeded()))
    for t, z in zip(times[1:], states, strict=True):
        assert (z == -1).double().mean().item() == pytest.approx(t, abs=0.01)
    assert fits(states[-1], in_time(P, times)) > 1e-3


def test_the_oracle_of_masked_steps_is_that_of_all_chains():
    P = leaf_table(COPIES)
    erase = [np.array([[0.5, 0, 0.5], [0, 0.5, 0.5]]), np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1.0]])]
    np.testing.assert_allclose(chain(P, np.array([0, 0, 1.0]), erase), in_time(P, [1, 0.5, 0]), atol=1e-12)


@pytest.mark.parametrize("case", [COPIES, RHM, UNTIED, CASES["joint_table"]], ids=["copies", "rhm", "untied", "joint"])
@pytest.mark.parametrize(("t", "s"), [(1.0, 0.5), (0.6, 0.3), (0.3, 0.0), (1.0, 0.0)])
def test_the_reverse_kernel_is_the_mean_of_bridges(case, t, s):
    P = leaf_table(case)
    states = P.shape[0]
    z = torch.tensor(np.indices(P.shape).reshape(4, -1).T)
    weights = unflip_kernel(net_of(case, hgm.Flip())(z, t * (states - 1) / states), z, t, s)
    found = (weights / weights.sum(1, keepdim=True)).transpose(1, 2).numpy()
    before, step = kept(1 - s, states), kept((1 - t) / (1 - s), states)
    want = np.stack([reverse_kernel(P, before, step, row) for row in z.tolist()])
    np.testing.assert_allclose(found, want, atol=1e-12)


@pytest.mark.parametrize("times", [[1, 0], [1, 0.5, 0], [1, 0.7, 0.2, 0]])
def test_uniform_diffusion_has_the_law_of_its_chain(times):
    for case in (UNTIED, COPIES, copies(3)):
        P = leaf_table(case)
        states = P.shape[0]
        steps = [kept((1 - t) / (1 - s), states) for s, t in pairwise(times[::-1])]
        law = chain(P, np.full(states, 1 / states), steps)
        x = torch.randint(states, (ROWS, 4), generator=seeded(1))
        assert fits(last(unflip(net_of(case, hgm.Flip()), x, states, times, generator=seeded(2))), law) > 1e-3


def test_uniform_diffusion_tends_to_the_data_as_one_over_steps():
    P = leaf_table(COPIES)
    gaps = []
    for n in (4, 8, 16, 32):
        times = np.linspace(0, 1, n + 1)
        steps = [kept((1 - t) / (1 - s), 2) for s, t in pairwise(times)]
        gaps.append(kl(P, chain(P, np.array([0.5, 0.5]), steps)))
    rates = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert (np.diff(gaps) < 0).all() and (rates > 0.8).all() and gaps[-1] < 0.01


def test_known_pixels_are_kept_and_condition_the_rest():
    P, net = leaf_table(COPIES), net_of(COPIES, hgm.Erasure())
    z = hidden()
    z[:, 1], z[:, 2] = 1, 0
    start = z.clone()
    given = conditional(P, [1, 2], 0) * conditional(P, [0, 1, 2], 3)
    law = np.zeros(P.shape)
    law[:, 1, 0] = given[:, 1, 0]
    for steps in (unmask(net, z, [1, 1], generator=seeded()), unmask(net, z, [1, 1], order=[3, 1, 2, 0])):
        states = list(steps)
        for state in states:
            assert (state[:, 1] == 1).all() and (state[:, 2] == 0).all()
        assert fits(states[-1], law) > 1e-3
    z[:, 0] = 1  # rows may differ in time
    z[::2, 0] = -1
    x = last(unmask_in_time(net, z, [0.5, 0], generator=seeded()))
    assert (x[:, 1] == 1).all() and (x[1::2, 0] == 1).all() and (x >= 0).all()
    assert start[0].tolist() == [-1, 1, 0, -1]


def test_symbols_that_are_impossible_together_do_not_stop_the_others():
    P, net = leaf_table(RHM), net_of(RHM, hgm.Erasure())
    first, x = unmask(net, hidden(), [2, 2], order=[0, 1, 2, 3], generator=seeded())
    possible = torch.from_numpy(P.sum((2, 3)) > 1e-14)[first[:, 0], first[:, 1]]
    assert 0.3 < possible.double().mean() < 0.9
    law = blockwise(P, [[0, 1], [2, 3]])
    assert fits(x[possible], law / law.sum()) > 1e-3
    rest = P.sum((0, 1, 3))[:, None] * P.sum((0, 1, 2))
    assert fits(x[~possible][:, 2:], rest) > 1e-3
    with pytest.raises(hgm.ImpossibleEvidence):
        next(unmask(net, first[~possible][:3], [2]))


def test_samples_have_the_leaf_shape_and_hang_on_the_generator_alone():
    case = CASES["quad_2d"]
    net, shape = net_of(case, hgm.Erasure()), case.tree.leaf_shape
    assert len(shape) == 2

    def run(seed):
        return last(unmask(net, hidden(50, shape), [3, 5], generator=seeded(seed)))

    assert run(0).shape == (50, *shape) and (run(0) == run(0)).all() and (run(0) != run(1)).any()
    flip = net_of(case, hgm.Flip())
    z = torch.zeros((50, *shape), dtype=torch.uint8)
    assert last(unflip(flip, z, 2, [0.5, 0])).shape == (50, *shape)
    assert last(unmask(net, np.full((3, *shape), -1), [8])).shape == (3, *shape)
    for x in (
        last(unmask(net, hidden(0, shape), [8])),
        last(unmask_in_time(net, hidden(0, shape), torch.linspace(1, 0, 3))),
        last(unflip(flip, z[:0], 2, np.linspace(1, 0, 3))),
    ):
        assert x.shape == (0, *shape)


def test_a_state_is_not_overwritten_by_later_steps():
    first, second = unmask(net_of(COPIES, hgm.Erasure()), z := hidden(5), [2, 2])
    assert (z == -1).all() and ((first == -1).sum(1) == 2).all() and (second >= 0).all()


EQUAL = [name for name, case in CASES.items() if len(set(case.tree.cardinality[case.tree.leaves])) == 1]


@pytest.mark.parametrize("name", EQUAL)
def test_leave_one_out_is_the_output_of_the_network(name):
    net, n = net_of(CASES[name], hgm.Flip()), CASES[name].tree.leaf_shape
    z = hgm.infer(CASES[name].tree).sample(6, generator=seeded()).leaves
    posterior, want = net(z, 0.2, outputs=("posterior", "leave_one_out"))
    likelihood = net.channel(z, torch.tensor(0.2, dtype=torch.float64)).exp()
    if net.leaf_states == 1:
        likelihood = torch.ones_like(posterior)
    assert want.shape[2:] == n
    torch.testing.assert_close(leave_one_out(posterior, likelihood), want, atol=1e-12, rtol=0)


def test_what_is_no_denoiser_is_refused_at_its_step():
    def after(steps, wrong):
        calls = []

        def denoiser(z, *noise):
            calls.append(z)
            p = torch.full((len(z), 2, 4), 0.5)
            return p if len(calls) <= steps else wrong(p)

        return denoiser

    def negative(p):
        return torch.cat([p - 0.6, p + 0.6], 1)[:, [0, 2]]

    for wrong, message in [
        (lambda p: p * torch.nan, "NaN"),
        (lambda p: p * 2, "sums that are not 1"),
        (negative, "negative"),
        (lambda p: p * torch.inf, "sum to 1"),
        (lambda p: p[:, :, :3], r"shape \(B, S, 4\) with B = 3; got \(3, 2, 3\)"),
        (lambda p: p[:, 0], r"got \(3, 4\)"),
        (lambda p: p[:1], r"got \(1, 2, 4\)"),
        (lambda p: None, "None"),
        (lambda p: p.long(), "tensor of probabilities"),
    ]:
        with pytest.raises(hgm.BadEvidence, match=f"step 1: .*{message}"):
            list(unmask(after(1, wrong), hidden(3), [2, 2]))
        with pytest.raises(hgm.BadEvidence, match=f"step 1: .*{message}"):
            list(unmask_in_time(after(1, wrong), hidden(3), [1, 0.5, 0]))
        with pytest.raises(hgm.BadEvidence, match="step 1: "):
            list(unflip(after(1, wrong), torch.zeros(3, 4).long(), 2, [1, 0.5, 0]))
    with pytest.raises(hgm.BadEvidence, match=r"step 0: .*shape \(B, 3, 4\)"):
        list(unflip(after(1, negative), torch.zeros(3, 4).long(), 3, [1, 0]))


def test_a_denoiser_that_fails_is_blamed_with_its_step():
    def broken(z, *noise):
        return z[:, 100]

    for steps in (unmask(broken, hidden(3), [4]), unmask_in_time(None, hidden(3), [1, 0])):
        with pytest.raises(hgm.BadExtension, match=r"step 0: the denoiser (broken|NoneType) fails: "):
            next(steps)


def test_a_posterior_in_half_precision_is_one():
    net = net_of(COPIES, hgm.Erasure())
    assert last(unmask(lambda z: net(z).half() * (1 + 2e-3), hidden(50), [2, 2], generator=seeded())).min() == 0


def test_times_may_be_a_tensor_that_needs_gradients():
    net, times = net_of(COPIES, hgm.Erasure()), torch.linspace(1, 0, 3, requires_grad=True)
    assert last(unmask_in_time(net, hidden(3), times)).min() >= 0


def test_wrong_arguments_are_refused_at_once():
    net, z = net_of(COPIES, hgm.Erasure()), hidden(3)
    ragged = z.clone()
    ragged[0, 0] = 1
    for make in (
        lambda: unmask(net, z, [2, 1]),
        lambda: unmask(net, z, [4, 0]),
        lambda: unmask(net, z, 4),
        lambda: unmask(net, ragged, [4]),
        lambda: unmask(net, z, [4], order=[0, 1, 2, 2]),
        lambda: unmask(net, z, [4], order=[0, 1, 2]),
        lambda: unmask(net, z, [4], order=[0, 1, 2, 4]),
        lambda: unmask(net, z.double(), [4]),
        lambda: unmask(net, z[0], [4]),
        lambda: unmask(net, z, [4], generator=0),
        lambda: unmask_in_time(net, z, [1, 0.5]),
        lambda: unmask_in_time(net, z, [0.5, 1, 0]),
        lambda: unmask_in_time(net, z, [1, 1, 0]),
        lambda: unmask_in_time(net, z, [2, 0]),
        lambda: unmask_in_time(net, z, [0]),
        lambda: unmask_in_time(net, z, 0.5),
        lambda: unmask_in_time(net, z, [np.nan, 0]),
        lambda: unflip(net, z, 2, [1, 0]),
        lambda: unflip(net, z + 3, 2, [1, 0]),
        lambda: unflip(net, z + 1, 0, [1, 0]),
        lambda: leave_one_out(torch.ones(2, 3), torch.ones(2, 2)),
        lambda: leave_one_out(torch.ones(2, 3), torch.zeros(2, 3)),
        lambda: leave_one_out(torch.ones(2, 3), torch.full((2, 3), torch.inf)),
        lambda: leave_one_out(torch.full((2, 3), torch.nan), torch.ones(2, 3)),
        lambda: leave_one_out(torch.zeros(2, 3), torch.ones(2, 3)),
        lambda: leave_one_out(-torch.ones(2, 3), torch.ones(2, 3)),
    ):
        with pytest.raises(hgm.HgmError):
            make()
