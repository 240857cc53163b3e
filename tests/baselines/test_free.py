"""Compiled networks with free weights: exact where they are to be, and free."""

import numpy as np
import pytest
import torch
from baselines.models import channel, noisy, tree
from oracles.trees import CASES

import hgm
from hgm.baselines import describe, make
from hgm.baselines.widened import drawn, widened


def reference(of, z, sigma, over):
    return hgm.infer(of, z.double(), sigma, channel=over)


@pytest.mark.parametrize("kind", ["image", "sequence", "odd"])
@pytest.mark.parametrize("parameters", [None, 2_000])
def test_the_constructive_start_is_the_exact_denoiser(kind, parameters):
    own = describe(hgm.compile(tree(kind), "denoise", trainable=True))["parameters"]
    net = make("compiled", tree(kind), channel(), parameters=parameters or own)
    z = noisy(kind, dtype=torch.float64)
    want = reference(tree(kind), z, 0.7, channel()).mean(channel())
    torch.testing.assert_close(net(z, 0.7), want, rtol=0, atol=1e-12)
    classes = make("compiled", tree(kind), channel(), parameters=2_000, task="classify")
    roots = reference(tree(kind), z, 0.7, channel()).marginals[:, :3, 0]
    torch.testing.assert_close(classes(z, 0.7), roots, rtol=0, atol=1e-12)


@pytest.mark.parametrize("more", [1, 2, 5])
@pytest.mark.parametrize("name", CASES)
def test_more_hidden_states_keep_the_law_of_the_leaves(name, more):
    of = CASES[name].tree
    wide = widened(of, more)
    assert (wide.cardinality == of.cardinality + more * of.inner).all()
    states = int(of.cardinality[of.leaves].max())
    over = hgm.Gaussian(torch.arange(float(states)))
    z = torch.randn(4, *of.leaf_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    one, two = (reference(model, z, 0.8, over) for model in (of, wide))
    torch.testing.assert_close(two.mean(over), one.mean(over), rtol=0, atol=1e-10)
    if of.inner.any():
        torch.testing.assert_close(
            two.log_partition - two.log_partition[:1], one.log_partition - one.log_partition[:1], rtol=0, atol=1e-9
        )


def test_ties_are_kept_and_copies_are_free():
    wide = widened(tree(), 4)
    assert len(wide.potentials) == len(tree().potentials)
    assert wide.grid == tree().grid and wide.names == tree().names
    assert widened(tree(), 0) is tree()
    assert (widened(tree(), 4, roots=False).cardinality[:1] == tree().cardinality[:1]).all()


def test_a_random_start_has_the_architecture_and_nothing_else():
    rng = np.random.default_rng(0)
    zeros = [
        case.tree for case in CASES.values() if any(np.isneginf(p.log_potential).any() for p in case.tree.potentials)
    ]
    for of in (tree(), zeros[0]):
        new = drawn(of, rng)
        for old, fresh in zip(of.potentials, new.potentials, strict=True):
            assert (np.isneginf(old.log_potential) == np.isneginf(fresh.log_potential)).all()
            assert not np.allclose(np.exp(old.log_potential), np.exp(fresh.log_potential))
    made, random = (make(name, tree(), channel(), parameters=2_000) for name in ("compiled", "compiled_random"))
    assert describe(made) == describe(random)
    z = noisy()
    assert float((made(z, 0.7) - random(z, 0.7)).detach().abs().max()) > 0.1


@pytest.mark.long
def test_relu_networks_start_near_the_optimum_or_far_from_it():
    z = noisy(dtype=torch.float64)
    want = reference(tree(), z, 0.7, channel()).mean(channel())
    near, far = (make(name, tree(), channel(), parameters=4_000) for name in ("relu", "relu_random"))
    assert describe(near) == describe(far)
    assert float((near(z, 0.7) - want).detach().abs().max()) < 0.2
    assert float((far(z, 0.7) - want).detach().abs().max()) > 0.2
    assert all(weight.requires_grad for weight in far.parameters())
    other = make("relu_random", tree(), channel(), parameters=4_000, seed=1)
    assert not torch.equal(other(z, 0.7), far(z, 0.7))
    again = make("relu_random", tree(), channel(), parameters=4_000)
    assert torch.equal(again(z, 0.7), far(z, 0.7))


def test_it_learns_to_be_exact_again():
    """One step from a random start goes down; from the constructive start there is nowhere to go."""
    z = noisy(rows=64, dtype=torch.float64)
    want = reference(tree(), z, 0.7, channel()).mean(channel())
    for name, falls in (("compiled", False), ("compiled_random", True)):
        net = make(name, tree(), channel(), parameters=2_000)
        loss = (net(z, 0.7) - want).square().mean()
        loss.backward()
        slope = max(float(weight.grad.abs().max()) for weight in net.parameters())
        assert (slope > 1e-4) == falls
