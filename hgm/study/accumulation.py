"""How the errors of single steps add up along a run of ancestral sampling, in nats, exactly.

With the signal to noise ratio t = 1 / sigma^2 for a clock and Y = t z, a step of DDPM to a later t' = t + d draws

    Y' = Y + f(z) d + sqrt(d) g          and in truth it is          Y' = Y + x d + sqrt(d) g'

KL(p || N(m', d)) is KL(p || N(m, d)) + |m - m'|^2 / 2d, m the mean of p; here that is Y + D d with D = E[x | z]:

    KL(p(Y' | Y) || N(Y + f d, d)) = KL(p(Y' | Y) || N(Y + D d, d)) + d/2 |f - D|^2

Summed over the steps (the chain rule) this is KL of the law of paths, in two parts that do not mix:

    steps          sum of d/2 mmse - 1/2 int mmse dt     what the exact denoiser loses by steps of this length; it
                                                         vanishes with them
    restriction    sum of d/2 E|f - D|^2                 what f adds; it goes to 1/2 int E|f - D|^2 dt, the nats of
                                                         `hgm.compare`, which is Girsanov's formula

The first because I(x; Y' | Y), the entropy of the true step less that of its noise, is 1/2 int mmse dt over the step.
What is read at the end is a function of the path, so KL(tree || samples) is at most the sum. In steps without end the
nats are that KL itself where f is the exact denoiser of some law, because then the two laws of paths differ in nothing
but the law of x. Blocks are: it is the product of the blocks' marginals. Windows are not: the Jacobian of what they say
is not symmetric.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["accumulated"]


def accumulated(cost: dict[str, Any], steps: int) -> dict[str, list[float]]:
    """What a run of ancestral sampling costs, in nats, added up until each of its levels of noise but the first.

    Args:
        cost: what a cell found, at the levels of a run whose steps are a multiple of these.
        steps: of the run.

    Returns:
        By name lists along the run: ``noise``, ``steps`` (what steps of this length lose with the exact denoiser),
        ``restriction``, and ``low`` and ``high`` of that, as if the errors at all levels had one sign.
    """
    noise = torch.tensor(cost["noise"], dtype=torch.float64)
    own = slice(None, None, len(noise) // steps)
    snr, leaves = noise**-2, cost["leaves"]
    found: dict[str, list[float]] = {"noise": noise[own][1:].tolist()}
    for name, key in (("steps", "optimum"), ("restriction", "excess"), ("low", "low"), ("high", "high")):
        height = torch.tensor(cost[key], dtype=torch.float64)
        left = (height[own][:-1] * snr[own].diff() * leaves / 2).cumsum(0)
        if name == "steps":  # less the integral, by trapezoids in log snr on the finest levels
            trapezoids = (height * snr)[1:] + (height * snr)[:-1]
            integral = torch.cat([snr.new_zeros(1), (trapezoids * snr.log().diff() * leaves / 4).cumsum(0)])
            left = left - integral[own][1:]
        found[name] = left.tolist()
    return found
