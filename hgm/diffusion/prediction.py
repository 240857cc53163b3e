"""What a network may predict of z = alpha x + sigma g, and how one prediction becomes another.

Each is a combination y = a x + b g of the clean data and the noise, so two numbers say what it is:

    x0          (1, 0)                the clean data
    noise       (0, 1)                the noise: "epsilon"
    v           (-sigma, alpha)       Salimans, Ho, arXiv 2202.00512
    score       (0, -1 / sigma)       the gradient of log p_t(z), by Tweedie's formula
    velocity    (alpha', sigma')      dz/dt; (-1, 1) for the rectified flow

z is such a combination too. From z and y any third one follows, for expectations given z as well, as they are linear:

    a2 x + b2 g = ((a2 b - a b2) z + (alpha b2 - sigma a2) y) / (alpha b - sigma a)
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from hgm.errors import BadEvidence, BadSpec, brief
from hgm.evidence.noise import along, as_noise, check_shape
from hgm.evidence.symbols import as_tensor
from hgm.tree.arguments import choice, is_series

__all__ = ["DIFFUSERS", "PREDICTIONS", "Prediction", "convert"]

Prediction = Literal["x0", "noise", "v", "score", "velocity"]

PREDICTIONS: tuple[str, ...] = get_args(Prediction)

#: what diffusers calls them
DIFFUSERS: dict[str, str] = {
    "sample": "x0",
    "epsilon": "noise",
    "v_prediction": "v",
    "flow_prediction": "velocity",
}


def convert(
    given: Any,
    source: Prediction | str,
    target: Prediction | str,
    z: Any,
    *,
    alpha: Any,
    sigma: Any,
    rates: tuple[Any, Any] = (-1.0, 1.0),
) -> Tensor:
    """One prediction from another.

    Args:
        given: ``(B, ...)`` the prediction y.
        source: what it is: ``"x0"``, ``"noise"``, ``"v"``, ``"score"`` or ``"velocity"``.
        target: what is wanted.
        z: ``(B, ...)`` the noisy data.
        alpha: a number or ``(B,)``, of the data in z.
        sigma: a number or ``(B,)``, of the noise in z.
        rates: d alpha / dt and d sigma / dt (`GaussianProcess.rates`), for velocities; default: the rectified flow's.

    Raises:
        BadSpec: for an unknown prediction, or rates that are not two.
        BadEvidence: for shapes that differ.
    """
    choice("source", source, PREDICTIONS)
    choice("target", target, PREDICTIONS)
    z, y = as_tensor(z, "z"), as_tensor(given, "the prediction")
    if y.shape != z.shape:
        raise BadEvidence(f"a prediction has the shape of z, {tuple(z.shape)}; got {tuple(y.shape)}")
    two = list(rates) if is_series(rates) else []
    if len(two) != 2:
        raise BadSpec(f"rates are two, d alpha / dt and d sigma / dt; got {brief(rates)}")
    alpha, sigma, *slopes = (_level(x, z, name) for x, name in zip((alpha, sigma, *two), NAMES, strict=True))
    a, b = _parts(source, alpha, sigma, slopes)
    a2, b2 = _parts(target, alpha, sigma, slopes)
    return ((a2 * b - a * b2) * z + (alpha * b2 - sigma * a2) * y) / (alpha * b - sigma * a)


NAMES = ("alpha", "sigma", "the rate of alpha", "the rate of sigma")


def _level(value: Any, z: Tensor, name: str) -> Tensor:
    noise = as_noise(value, z, name)
    check_shape(noise, len(z), 0, tuple(z.shape[1:]), name)
    return along(noise, z)


def _parts(kind: str, alpha: Tensor, sigma: Tensor, rates: Any) -> tuple[Any, Any]:
    """a and b of a prediction."""
    return {
        "x0": (1.0, 0.0),
        "noise": (0.0, 1.0),
        "v": (-sigma, alpha),
        "score": (0.0, -1 / sigma),
        "velocity": tuple(rates),
    }[kind]
