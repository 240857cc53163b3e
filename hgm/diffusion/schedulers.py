"""Schedulers of diffusers: made for a process, checked, and read: which alpha and sigma each of their steps has.

    by timestep   alpha^2 = alphas_cumprod[t], sigma^2 = 1 - alpha^2              DDPM, DDIM
    by sigmas     alpha^2 = 1 / (1 + sigmas[i]^2), sigma = alpha sigmas[i]        Euler, Heun, DPM-Solver++
    by flow       alpha = 1 - sigmas[i], sigma = sigmas[i]                        flow matching

What a model is shown is alpha x + sigma g in all of them; Euler and Heun keep x + (sigma / alpha) g and scale that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hgm.diffusion.prediction import DIFFUSERS
from hgm.diffusion.process import ALPHA_MIN, GaussianProcess, RectifiedFlow, VariancePreserving
from hgm.errors import BadSpec, brief, did_you_mean, listing

__all__ = ["LEVELS", "NAMES", "checked_scheduler", "levels", "predicts", "scheduler", "squares"]

STEPS = 1000  # times of a scheduler that is made for a process
LEAST = 5e-4  # of their sigma / alpha: 1 - alpha^2 is then four roundings of single precision


def _by_timestep(scheduler: Any, index: int, t: Any) -> tuple[Tensor, Tensor]:
    square = scheduler.alphas_cumprod[int(t)].double()
    return square.sqrt(), (1 - square).sqrt()


def _by_sigmas(scheduler: Any, index: int, t: Any) -> tuple[Tensor, Tensor]:
    sigma = scheduler.sigmas[index].double()
    if scheduler.config.get("use_flow_sigmas"):
        return 1 - sigma, sigma
    alpha = (1 + sigma.square()).rsqrt()
    return alpha, alpha * sigma


def _by_flow(scheduler: Any, index: int, t: Any) -> tuple[Tensor, Tensor]:
    sigma = scheduler.sigmas[index].double()
    return 1 - sigma, sigma


#: by the name of a scheduler's class: alpha and sigma of what a model is shown at step `index` and timestep `t`
LEVELS: dict[str, Callable[[Any, int, Any], tuple[Tensor, Tensor]]] = {
    "DDPMScheduler": _by_timestep,
    "DDIMScheduler": _by_timestep,
    "EulerDiscreteScheduler": _by_sigmas,
    "HeunDiscreteScheduler": _by_sigmas,
    "DPMSolverMultistepScheduler": _by_sigmas,
    "FlowMatchEulerDiscreteScheduler": _by_flow,
}

#: steps in sigma^(1/7), of Karras et al., arXiv 2206.00364: many where there is little noise
KARRAS = {"use_karras_sigmas": True}

#: short names of schedulers, and what is set besides the process
NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", KARRAS),
    "heun": ("HeunDiscreteScheduler", KARRAS),
    "dpm++": ("DPMSolverMultistepScheduler", KARRAS),
    "flow": ("FlowMatchEulerDiscreteScheduler", {}),
}


def scheduler(name: str, process: GaussianProcess | None = None, **options: Any) -> Any:
    """A scheduler of diffusers for a process: 1,000 times, nothing clipped, predicting x0.

    All processes are one up to scale, so the scheduler has the process's ratios sigma / alpha, which are what counts.
    Euler, Heun and DPM-Solver++ take their steps in sigma^(1/7) (``use_karras_sigmas``).

    Args:
        name: ``"ddpm"``, ``"ddim"``, ``"euler"``, ``"heun"``, ``"dpm++"`` or ``"flow"``.
        process: default `VariancePreserving()`; for ``"flow"`` the rectified flow, which it is made for.
        options: for the scheduler's class, instead of those above.

    Raises:
        BadSpec: for an unknown name, a process that is none, or an option that the scheduler has not.
    """
    import diffusers

    if not isinstance(name, str) or name not in NAMES:
        raise BadSpec(f"a scheduler is one of {', '.join(NAMES)}; got {brief(name)}{did_you_mean(name, NAMES)}")
    kind, settings = NAMES[name]
    if name == "flow":
        if not isinstance(process, RectifiedFlow | None):
            raise BadSpec(
                f"'flow' is the scheduler of RectifiedFlow(), not of {brief(process)}; take another one for that"
            )
    else:
        process = VariancePreserving() if process is None else process
        if not isinstance(process, GaussianProcess):
            raise BadSpec(
                f"a scheduler is made for a continuous process, such as RectifiedFlow(); got {brief(process)}"
            )
        alpha, sigma = process.at(torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS)
        least = float(sigma[0] / alpha[0])
        if least < LEAST:
            raise BadSpec(
                f"diffusers keeps alpha^2 in single precision, in which a first sigma / alpha of {least:.3g} is none; "
                f"take a process with at least {LEAST} at time 1/{STEPS}"
            )
        square = 1 / (1 + (sigma / alpha).square())  # alpha^2 where alpha^2 + sigma^2 is 1
        betas = 1 - square / torch.cat([square.new_ones(1), square[:-1]])
        settings = settings | {"trained_betas": betas.tolist(), "prediction_type": "sample"}
    try:
        found = getattr(diffusers, kind)(**settings | options)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise BadSpec(f"the scheduler {kind} cannot be made: {error}") from None
    return checked_scheduler(found)


def checked_scheduler(given: Any) -> Any:
    """The scheduler. Raises `BadSpec` for one that is not driven here, or that would change what a model says."""
    kind = type(given).__name__
    if kind not in LEVELS:
        raise BadSpec(f"the schedulers that are driven are {listing(list(LEVELS), 20)}; got {brief(given)}")
    config = given.config
    for option in ("clip_sample", "thresholding"):
        if config.get(option):
            raise BadSpec(
                f"{kind} has {option}=True, which would change the values of symbols; make it with {option}=False"
            )
    if config.get("invert_sigmas"):
        raise BadSpec(f"{kind} has invert_sigmas=True, by which time runs from data to noise; make it without")
    if str(config.get("variance_type")).startswith("learned"):
        raise BadSpec(
            f"{kind} wants a variance that is learned, and a denoiser gives none; choose another variance_type"
        )
    predicts(given)
    return given


def predicts(given: Any) -> str:
    """What a scheduler wants to be told, a `Prediction`. Raises `BadSpec` for what is none."""
    wanted = given.config.get("prediction_type", "flow_prediction" if type(given).__name__.startswith("Flow") else None)
    if wanted not in DIFFUSERS:
        raise BadSpec(
            f"prediction_type must be one of {', '.join(DIFFUSERS)}; {type(given).__name__} has {brief(wanted)}"
        )
    flows = LEVELS.get(type(given).__name__) is _by_flow or given.config.get("use_flow_sigmas")
    if wanted == "flow_prediction" and not flows:  # the velocity that it means is that of a flow
        raise BadSpec(f"prediction_type flow_prediction is of flow matching; {type(given).__name__} has other noise")
    return DIFFUSERS[wanted]


def squares(given: Any) -> Tensor:
    """``(T,)`` alpha^2 of every timestep, at least `ALPHA_MIN` squared, in float64.

    Raises `BadSpec` for a scheduler whose timesteps do not tell the noise by its alphas.
    """
    if not hasattr(given, "alphas_cumprod") or given.config.get("use_flow_sigmas"):
        how = " of its steps: it has use_flow_sigmas=True" if hasattr(given, "alphas_cumprod") else ""
        raise BadSpec(f"{type(given).__name__} has no alphas{how}; give the scheduler that the model was trained with")
    found: Tensor = given.alphas_cumprod.double().clamp_min(ALPHA_MIN**2)
    return found


def levels(given: Any, index: int, t: Any) -> tuple[Tensor, Tensor]:
    """alpha, at least `ALPHA_MIN`, and sigma of what a model is shown at a step, ``()`` each in float64."""
    alpha, sigma = LEVELS[type(given).__name__](given, index, t)
    return alpha.clamp_min(ALPHA_MIN), sigma
