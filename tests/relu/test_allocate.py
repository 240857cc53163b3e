"""Sharing out the tolerance: the closed form for one variable, fewer units than even shares, a bound that is kept."""

import itertools

import numpy as np
import pytest
import torch

import hgm
from hgm.errors import Uncertifiable
from hgm.relu.allocate import RATIOS, optimal, settle, uniform
from hgm.relu.constructions.choose import cheapest

SENSITIVITY = torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64)
WORK = np.array([2.0, 1.0, 30.0])


def one_variable(omega):
    return (SENSITIVITY * omega).sum()[None]


def test_optimal_shares_are_the_closed_form():
    """With one variable, omega_k ~ (c_k / s_k)^(2/3)."""
    want = (WORK / SENSITIVITY.numpy()) ** (2 / 3)
    want /= float(one_variable(torch.from_numpy(want)))
    np.testing.assert_allclose(optimal(one_variable, WORK), want, rtol=1e-3)


def test_even_shares_use_up_the_tolerance():
    np.testing.assert_allclose(uniform(one_variable, 3), np.full(3, 1 / 5.5))
    assert float(one_variable(torch.from_numpy(optimal(one_variable, WORK)))) == pytest.approx(1.0)


def test_maps_without_work_get_no_share():
    omega = optimal(one_variable, np.array([0.0, 1.0, 0.0]))
    assert omega.tolist() == pytest.approx([0.0, 0.25, 0.0])
    assert optimal(one_variable, np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_what_is_settled_keeps_the_bound_with_about_the_fewest_units():
    rng = np.random.default_rng(0)
    tables = [rng.uniform(-2, 2, (2, 2)) for _ in range(3)]

    def make(k, error):
        return cheapest(tables[k], error)

    def reached(modules):
        return float(one_variable(torch.tensor([m.error for m in modules], dtype=torch.float64)))

    omega = np.full(3, 0.05)
    chosen = settle(one_variable, omega, np.ones(3), np.zeros(3), make)
    on_offer = itertools.product(*([make(k, o * ratio) for ratio in RATIOS] for k, o in enumerate(omega)))
    fewest = min(sum(m.units for m in modules) for modules in on_offer if reached(modules) <= 1)
    assert reached(chosen) <= 1
    assert fewest <= sum(m.units for m in chosen) <= 1.1 * fewest


def test_a_bound_that_no_construction_keeps_is_refused():
    with pytest.raises(Uncertifiable, match="raise it"):
        settle(
            lambda omega: omega + 2, np.full(1, 0.1), np.ones(1), np.zeros(1), lambda _, e: cheapest([[0.0, 1.0]], e)
        )


def test_optimal_allocation_takes_fewer_units_than_uniform():
    tree = hgm.random_ghm(5, 3, 2, seed=3)
    units = [hgm.compile(tree, activation="relu", allocation=how).certificate.units for how in ("optimal", "uniform")]
    assert units[0] < 0.9 * units[1]
