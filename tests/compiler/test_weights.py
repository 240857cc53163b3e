"""The vector of weights: zeros are structure, which no optimiser moves, and weights that are no numbers are named."""

import json

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from safetensors.torch import safe_open, save

import hgm
from hgm.files.network import KEY, WEIGHTS
from hgm.files.sealed import checksum
from hgm.measure.feed import feed
from hgm.testing import assert_close, random_evidence
from hgm.tree.flat import flatten

ZEROS = [name for name, case in CASES.items() if np.isneginf(flatten(case.tree.potentials)).any()]
TREE = hgm.Tree.from_edges([("r", "x", [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])], {"r": [0.4, 0.6]})
OPTIMISERS = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}


def trained(tree, optimiser, steps=3):
    net = hgm.compile(tree, trainable=True, observed=tree.names)
    args, kwargs = feed(net, tree, random_evidence(tree, 0))
    step = OPTIMISERS[optimiser](net.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(steps):
        step.zero_grad()
        (-net.log_partition(*args, **kwargs).sum()).backward()
        step.step()
    return net, args, kwargs


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("name", ZEROS)
def test_weight_decay_leaves_zeros_where_they_are(name, optimiser):
    tree = CASES[name].tree
    net, args, kwargs = trained(tree, optimiser)
    assert all(bool(weights.isfinite().all()) for weights in net.parameters())
    learnt = net.tree()
    before, after = flatten(tree.potentials), flatten(learnt.potentials)
    assert np.array_equal(np.isneginf(before), np.isneginf(after))
    assert np.isfinite(after[np.isfinite(before)]).all() and not np.array_equal(before, after)
    again = hgm.compile(learnt, observed=tree.names)
    assert_close(again.log_partition(*args, **kwargs), net.log_partition(*args, **kwargs), 1e-12, "log Z")


def test_one_step_of_gradient_descent_with_decay_is_that_of_the_entries_that_are_not_zero():
    net, *_ = trained(TREE, "SGD", steps=1)
    e = random_evidence(TREE, 0)
    log = [torch.from_numpy(p.log_potential.copy()).requires_grad_() for p in TREE.potentials]
    joint = log[0].exp()[:, None] * log[1].exp() * e[:, :2, 0].exp()[..., None] * e[:, :, 1].exp()[:, None]
    gradients = torch.autograd.grad(-joint.sum((1, 2)).log().sum(), log)
    for p, old, slope in zip(net.tree().potentials, log, gradients, strict=True):
        want = old.detach() - 0.05 * (slope + 0.1 * old.detach())
        kept = old.detach().isfinite()
        assert_close(torch.from_numpy(p.log_potential.copy())[kept], want[kept], 1e-12, "weights")


@pytest.mark.parametrize("trainable", [False, True])
def test_only_what_is_not_zero_is_a_weight(trainable):
    weights = hgm.compile(TREE, trainable=trainable).engine.weights
    assert weights.log_potential.shape == (7,) and "7 in 2 potentials" in str(weights)
    assert torch.equal(weights.full().detach(), torch.from_numpy(flatten(TREE.potentials)))


@pytest.mark.parametrize("trainable", [False, True])
def test_a_state_that_holds_the_zeros_too_is_loaded(trainable):
    other = TREE.with_potentials([p.with_log(p.log_potential * 2) for p in TREE.potentials])
    full = torch.from_numpy(flatten(other.potentials))
    net = hgm.compile(TREE, trainable=trainable)
    state = net.state_dict() | {WEIGHTS: full}
    net.load_state_dict(state)
    assert len(state[WEIGHTS]) == 8  # the caller's is as it was
    assert net.tree() == other
    x = torch.zeros(1, 3, 1, dtype=torch.float64)
    assert_close(net(x), hgm.compile(other)(x), 1e-12, "posterior")
    full[full.isneginf()] = -3.0
    with pytest.raises(hgm.BadPotential, match=r"zeros are no weights: those of potentials 1 cannot become positive"):
        net.load_state_dict({**state, WEIGHTS: full})


@pytest.mark.parametrize("trainable", [False, True])
def test_fixed_and_trained_networks_take_each_others_states(trainable):
    net, *_ = trained(TREE, "Adam")
    other = hgm.compile(TREE, trainable=trainable, observed=TREE.names)
    other.load_state_dict(net.state_dict())
    assert other.tree() == net.tree()


@pytest.mark.parametrize("trainable", [False, True])
def test_a_file_that_holds_the_zeros_too_is_read(tmp_path, trainable):
    net = hgm.compile(TREE, trainable=trainable)
    path = tmp_path / "net.safetensors"
    hgm.save_network(net, path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert tensors[f"state.{WEIGHTS}"].shape == (7,)
    tensors[f"state.{WEIGHTS}"] = torch.from_numpy(flatten(TREE.potentials))
    del header["checksum"]
    header["checksum"] = checksum(header, tensors)
    path.write_bytes(save(tensors, {KEY: json.dumps(header)}))
    again, x = hgm.load_network(path), torch.zeros(2, 3, 1)
    assert torch.equal(again(x), net(x)) and again.tree() == TREE and again.trainable == trainable


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("trainable", [False, True])
def test_weights_that_are_no_numbers_are_blamed_and_not_the_evidence(trainable, loaded, value):
    net = hgm.compile(TREE, trainable=trainable)
    weights = net.state_dict()[WEIGHTS].clone()
    weights[-1] = value
    said = r"the weights of potentials 1 are NaN, \+inf, or all zero"
    if loaded:
        with pytest.raises(hgm.BadPotential, match=said):
            net.load_state_dict({**net.state_dict(), WEIGHTS: weights})
        return
    with torch.no_grad():
        net.engine.weights.log_potential.copy_(weights)
    for run in (net, net.log_partition):
        with pytest.raises(hgm.BadPotential, match=said):
            run(torch.zeros(1, 3, 1))
    with pytest.raises(hgm.BadPotential):
        net.tree()


@pytest.mark.parametrize("decades", [10, 25, 35, 42, 60])
@pytest.mark.parametrize("prior", [[0.0, 0.5, 0.5], [0.2, 0.4, 0.4]], ids=["with a zero", "positive"])
def test_a_prior_that_is_trained_away_is_right_or_refused(prior, decades):
    """Also where it has a zero, which is exact and bounds nothing."""
    tree = hgm.Tree.from_edges([("a", "b", [[0.5, 0.5], [0.3, 0.7], [0.6, 0.4]])], {"a": prior})
    net = hgm.compile(tree, trainable=True, query="all", observed=["a"])
    assert net.plan.levels[0].kernel == "linear"
    with torch.no_grad():
        net.engine.weights.log_potential[int(np.count_nonzero(prior)) - 1] -= decades * np.log(10)
    e = torch.zeros(1, 3, 2)
    e[0, :, 0] = torch.tensor([0.0, -60.0, 30.0])
    e[0, 2, 1] = -torch.inf
    try:
        args, kwargs = feed(net, tree, e)
        assert_close(net(*args, **kwargs), hgm.infer(net.tree(), e.double()).marginals, 1e-6, "marginals")
    except hgm.BadPotential:
        assert decades > 15
