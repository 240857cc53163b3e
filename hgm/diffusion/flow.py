"""The probability flow: a deterministic way from data to noise, and the log likelihood that it gives.

With u = log sigma and z = x + sigma g, to which every continuous process comes down once z is divided by alpha,

    dz/du = z - D(z)            d log p/du = -(d - tr dD/dz)            D(z) = E[x | z]

(Song et al., arXiv 2011.13456, in the coordinates of Karras et al., 2206.00364). From z at a small sigma to one where p
is all but normal, it gives log p of z for any denoiser D. It is followed in data between -1 and 1 (`Scale`), so that
neither the solver's tolerance nor how normal the end is depends on the units of the values.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hgm.diffusion.denoiser import differentiable
from hgm.diffusion.process import GaussianProcess, VariancePreserving, checked_process
from hgm.diffusion.scale import Scale
from hgm.diffusion.step import answered, callable_as
from hgm.errors import BadEvidence, BadSpec, HgmError, brief
from hgm.evidence.ambient import check_generator
from hgm.evidence.symbols import as_tensor
from hgm.tree.arguments import choice, number

__all__ = ["EXACT_TRACE", "flow_log_prob"]

#: up to so many numbers of a row the trace is summed over all of them
EXACT_TRACE = 256

#: the noise at which the flow ends is at least so many times half the range of the values
NORMAL = 50.0


def flow_log_prob(
    denoiser: Callable[..., Tensor],
    z: Any,
    t: float = 0.1,
    process: GaussianProcess | None = None,
    *,
    trace: Literal["exact", "hutchinson"] | None = None,
    tolerance: float = 1e-5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Log likelihood by the probability flow: of any denoiser, and equal to the exact one for an exact denoiser.

    The flow starts at time t > 0 and not at the data themselves: symbols have no density, and near them the flow is
    stiff. It ends at time 1, or where sigma is 50 times half the range of the values, if that is later. There z is
    taken for normal: with standard deviation sigma, about the mean of the data, which is what the denoiser says of the
    middle of their range.

    Args:
        denoiser: ``f(z, sigma)`` for z = x + sigma g, differentiable: a compiled U-Net, or a network.
        z: ``(B, *shape)`` floats, as the process makes them at time t; float64 for all digits.
        t: the time of z, in (0, 1).
        process: default `VariancePreserving()`.
        trace: ``"exact"``, by d derivatives, or ``"hutchinson"``, an unbiased estimate by one random direction for each
            row. Default: exact up to 256 numbers a row.
        tolerance: of the solver (`scipy.integrate.solve_ivp`, of order 8), relative and absolute, from 1e-12.
        generator: for the directions; default torch's global one.

    Returns:
        ``(B,)`` log p_t(z) in nats, float64: what `Exact.log_prob` says.

    Raises:
        BadSpec: for a time at which there is no noise, or a process that is none.
        BadEvidence: for NaN in z.
        HgmError: if the denoiser gives NaN or another shape, or the solver gives up.
    """
    from scipy.integrate import solve_ivp

    callable_as("a denoiser", denoiser)
    process = VariancePreserving() if process is None else process
    if not isinstance(checked_process(process), GaussianProcess):
        raise BadSpec(f"the flow is of a continuous process; got {brief(process)}")
    z = as_tensor(z, "z")
    if not z.is_floating_point() or z.ndim < 2:
        raise BadSpec(f"z must be floats (B, *shape); got {z.dtype} of shape {tuple(z.shape)}")
    if z.is_meta or not bool(z.isfinite().all()):
        raise BadEvidence("z must be finite numbers")
    t = number(t, "the flow starts at a time with noise, in (0, 1)", lambda t: 0 <= t < 1)
    alpha, sigma = (float(x) for x in process.at(t))
    if not sigma > 0:
        raise BadSpec(f"the flow starts at a time with noise, in (0, 1); got t={t}")
    number(tolerance, "tolerance must be a number from 1e-12 to 0.1", lambda x: 1e-12 <= x <= 0.1)
    scale = Scale.of(getattr(denoiser, "channel", None))
    last_alpha, last_sigma = (float(x) for x in process.at(1.0))
    last = max(last_sigma / last_alpha / scale.half, NORMAL)
    d = z[0].numel() if len(z) else 0
    kind = "exact" if d <= EXACT_TRACE else "hutchinson"
    kind = kind if trace is None else choice("trace", trace, ("exact", "hutchinson"))
    generator = check_generator(generator, z.device)
    probes = None
    if kind == "hutchinson":
        probes = torch.randint(0, 2, z.shape, generator=generator, device=z.device).to(z) * 2 - 1
    if not len(z):
        return torch.zeros(0, dtype=torch.float64, device=z.device)

    def slope(u: float, state: np.ndarray) -> np.ndarray:
        y = torch.from_numpy(state[: z.numel()]).to(z).reshape(z.shape)
        mean, trace_of = _mean_and_trace(denoiser, scale.out(y), scale.half * float(np.exp(u)), probes)
        moved = (y - scale.into(mean)).flatten().double().cpu().numpy()
        return np.concatenate([moved, (trace_of - d).double().cpu().numpy()])

    start = np.concatenate([scale.into(z.detach() / alpha).flatten().double().cpu().numpy(), np.zeros(len(z))])
    span = (log(sigma / alpha / scale.half), log(last))
    solved = solve_ivp(slope, span, start, "DOP853", rtol=tolerance, atol=tolerance)
    if not solved.success:
        raise HgmError(f"the probability flow could not be followed: {solved.message}")
    end = torch.from_numpy(solved.y[:, -1])
    z_end, gained = end[: z.numel()].reshape(z.shape), end[z.numel() :]
    with torch.no_grad():
        middle = scale.out(torch.zeros_like(z))
        centre = scale.into(answered(denoiser, middle, scale.half * last, "at the end of the flow")).double().cpu()
    distance = ((z_end - centre) / last).flatten(1).square().sum(1)
    log_normal = -distance / 2 - d * (log(last) + log(2 * pi) / 2)
    return (log_normal - gained - d * log(alpha * scale.half)).to(z.device)


def _mean_and_trace(denoiser: Any, z: Tensor, sigma: float, probes: Tensor | None) -> tuple[Tensor, Tensor]:
    """E[x | z], and the trace ``(B,)`` of its derivative, or an estimate of that by `probes`."""
    with differentiable(z) as x:
        mean = answered(denoiser, x, sigma, f"in the flow (sigma {sigma:.4g})")
        if probes is not None:
            (rows,) = torch.autograd.grad((mean * probes).sum(), x)
            return mean.detach(), (rows * probes).flatten(1).sum(1)
        d = z[0].numel()
        units = torch.eye(d, dtype=z.dtype, device=z.device).reshape(d, 1, *z.shape[1:]).expand(d, *z.shape)
        (rows,) = torch.autograd.grad(mean, x, units.contiguous(), is_grads_batched=True)
    return mean.detach(), torch.diagonal(rows.flatten(2), dim1=0, dim2=2).sum(1)
