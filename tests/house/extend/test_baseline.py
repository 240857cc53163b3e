"""A network from outside: named, sized, and called as the others are."""

import pytest
import torch
from torch import nn

import hgm
from hgm.baselines import BASELINES, Framed, baseline, describe, make, names


class Linear(nn.Module):
    """Every output from every input, by one matrix through so many hidden numbers."""

    def __init__(self, problem, width):
        super().__init__()
        n = len(problem.tree.leaves)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(n, width), nn.Linear(width, n))
        self.shape = problem.leaf_shape

    def forward(self, y, t):
        return self.layers(y).unflatten(1, (1, *self.shape))


@pytest.fixture
def toy():
    before = dict(BASELINES)

    @baseline("linear")
    def linear(problem, width):
        """A matrix of low rank.

        And nothing else.
        """
        return Framed(problem, Linear(problem, width), "scale")

    yield linear
    BASELINES.clear()
    BASELINES.update(before)


def grid():
    return hgm.random_ghm(2, 3, (2, 2), seed=0)


def test_it_is_named_sized_and_called(toy):
    assert names()[-1] == "linear" and BASELINES["linear"].text == "A matrix of low rank."
    net = make("linear", grid(), hgm.Gaussian(), parameters=33 * 7 + 16, seed=1)
    assert describe(net) == {"parameters": 33 * 7 + 16, "multiply_adds": 2 * 16 * 7}
    assert net.body.layers[1].out_features == 7
    z = torch.randn(3, 4, 4)
    assert net(z, 0.5).shape == z.shape
    assert hgm.receptive_field(net, inputs=2).whole
    assert describe(make("linear", grid(), hgm.Gaussian(), compute=320))["multiply_adds"] == 320


def test_a_name_is_taken_once_and_an_unknown_one_is_guessed(toy):
    with pytest.raises(hgm.BadExtension, match="there is a network 'linear' already: A matrix of low rank"):
        baseline("linear")(toy)
    with pytest.raises(hgm.BadSpec, match="did you mean 'linear'"):
        make("linaer", grid(), hgm.Gaussian(), parameters=100)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (lambda problem: None, r"must be a function f\(problem, width\)"),
        (3, "must be a function"),
        (lambda problem, width: 3, "must be a torch.nn.Module; its function gave a int"),
        (lambda problem, width: 1 / 0, "the network wrong fails: ZeroDivisionError"),
    ],
)
def test_what_is_no_network_is_one_line(toy, recipe, message):
    with pytest.raises(hgm.BadExtension, match=message):
        baseline("wrong")(recipe)
        make("wrong", grid(), hgm.Gaussian(), parameters=100)
