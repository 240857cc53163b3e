"""How much error every map may make: as few units as possible, and every asked-for variable keeps its bound.

A map used n times with error omega takes about ``n c / sqrt(omega)`` units (`cost` of a construction), and the
errors E_v of the beliefs are linear in the omegas (`hgm.relu.propagate`):

    minimise  sum_k n_k c_k / sqrt(omega_k)      such that   max_v E_v(omega) / tol_v <= 1.

With one variable, sensitivities s_k = dE/d omega_k give ``omega_k ~ (c_k / s_k)^(2/3)``, with n_k in both, scaled to
the tolerance. With several, both sides are homogeneous, so the program is

    minimise over y = log omega      log sum_k n_k c_k e^(-y_k / 2)  +  1/2 log max_v E_v(e^y) / tol_v,

a convex function (a sum of log-sum-exps of affine functions); the maximum is smoothed to a p-norm. What comes out is
only a proposal: the constructions have whole numbers of units, and `settle` picks among them by their true errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hgm.errors import Uncertifiable
from hgm.relu.constructions.logmatrix import LogMatrix

__all__ = ["optimal", "settle", "uniform"]

#: exponents of the p-norms that stand for the maximum, one after the other
NORMS = (8.0, 64.0)

#: ratios of the proposed error at which constructions with few units are tried, and how many are few
RATIOS = np.geomspace(0.5, 2.0, 7)
FEW = 24

Relative = Callable[[Tensor], Tensor]  # omegas (K,) -> E_v / tol_v of all asked-for variables


def uniform(bound: Relative, count: int) -> np.ndarray:
    """``(K,)``: the same error for every map, scaled to the tolerance."""
    worst = float(bound(torch.ones(count, dtype=torch.float64)).max())
    return np.full(count, 1.0 / worst if worst > 0 else 1.0)


def optimal(bound: Relative, work: np.ndarray) -> np.ndarray:
    """``(K,)``: the errors with the fewest units; `work` is ``(K,)`` the n_k c_k, and where it is 0 so is the error."""
    from scipy.optimize import minimize  # here, for a light `import hgm`

    busy = np.flatnonzero(work > 0)
    omega = np.zeros(len(work))
    if not len(busy):
        return omega
    weights, index = torch.from_numpy(work[busy]).log(), torch.from_numpy(busy)

    def value(y: np.ndarray, norm: float) -> tuple[float, np.ndarray]:
        variable = torch.from_numpy(y).requires_grad_()
        full = torch.zeros(len(work), dtype=torch.float64).index_add(0, index, variable.exp())
        e = bound(full)
        e = e[e.detach() > 0]
        if not len(e):
            return 0.0, np.zeros_like(y)
        smooth = torch.logsumexp(norm * e.log(), 0) / norm
        total = torch.logsumexp(weights - variable / 2, 0) + smooth / 2
        (gradient,) = torch.autograd.grad(total, variable)
        return float(total.detach()), gradient.numpy()

    # the start: as if all variables counted alike
    ones = torch.ones(len(work), dtype=torch.float64, requires_grad=True)
    (sensitivity,) = torch.autograd.grad(bound(ones).sum(), ones)
    used = np.maximum(sensitivity.numpy()[busy], 1e-12 * float(sensitivity.max()) + 1e-300)
    y = 2 / 3 * np.log(work[busy] / used)
    y -= y.max()
    steps = int(np.clip(2e7 / max(len(work), 1), 20, 200))
    for norm in NORMS:
        options = {"maxiter": steps, "ftol": 1e-6}  # of the logarithm of the number of units
        y = minimize(lambda x, p=norm: value(x, p), y, jac=True, method="L-BFGS-B", options=options).x
    omega[busy] = np.exp(y - y.max())
    worst = float(bound(torch.from_numpy(omega)).max())
    return omega / worst if worst > 0 else omega


def settle(
    bound: Relative,
    omega: np.ndarray,
    count: np.ndarray,
    guess: np.ndarray,
    make: Callable[[int, float], LogMatrix],
    rounds: int = 20,
) -> list[LogMatrix]:
    """Constructions for all maps whose true errors keep the bound.

    Every map with few units is tried at several errors around its share; one Lagrange multiplier then trades all maps'
    units for error, and is lowered until the bound holds.

    Args:
        bound: from errors to the bounds, relative to their tolerances.
        omega: ``(K,)`` the shares, > 0.
        count: ``(K,)`` how many factors use each map.
        guess: ``(K,)`` about how many units each map takes at its share.
        make: builds map k for an error.
        rounds: how often the shares may be lowered.

    Raises:
        Uncertifiable: if the bound cannot be kept.
    """
    variable = torch.from_numpy(omega.copy()).requires_grad_()
    e = bound(variable)
    near = torch.softmax(50 * (e / e.detach().max().clamp_min(1e-300)), 0).detach()
    (gradient,) = torch.autograd.grad((near * e).sum(), variable)
    price = gradient.numpy()
    ladder = RATIOS if len(omega) <= 400 else RATIOS[3:4]
    options = [_options(k, omega[k] * (ladder if guess[k] < FEW else RATIOS[3:4]), make) for k in range(len(omega))]

    def pick(multiplier: float) -> list[LogMatrix]:
        return [
            min(mine, key=lambda m, n=n, p=p: (n * m.units + multiplier * p * m.error, m.error))  # type: ignore[misc]
            for n, p, mine in zip(count, price, options, strict=True)
        ]

    def worst(modules: Sequence[LogMatrix]) -> float:
        return float(bound(torch.tensor([m.error for m in modules], dtype=torch.float64)).max())

    total = sum(float(count[k]) * mine[len(mine) // 2].units for k, mine in enumerate(options))
    low, high = max(total, 1.0) * 1e-4, max(total, 1.0) * 1e4
    best = pick(high)
    if worst(best) > 1:  # even the smallest errors on offer exceed the bound
        if rounds == 0:
            raise Uncertifiable("this tolerance is below what float64 can certify; raise it")
        return settle(bound, omega * 0.97 / worst(best), count, guess, make, rounds - 1)
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        modules = pick(middle)
        if worst(modules) <= 1:
            best, high = modules, middle
        else:
            low = middle
    return best


def _options(k: int, errors: np.ndarray, make: Callable[[int, float], LogMatrix]) -> list[LogMatrix]:
    found: dict[int, LogMatrix] = {}
    for error in errors:
        module = make(k, float(error))
        if module.units not in found or module.error < found[module.units].error:
            found[module.units] = module
    return list(found.values())
