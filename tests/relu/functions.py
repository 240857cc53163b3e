"""The targets, each beside a formula of its own, and the error of a piecewise-linear function on a grid."""

import numpy as np

from hgm.relu.pieces.targets import Exp, Log, LogRatio, SoftplusTail


def ratio(a, b, c, d):
    return (
        LogRatio(a, b, c, d),
        lambda x: np.log((np.exp(a) + np.exp(b + x)) / (np.exp(c) + np.exp(d + x))),
        (-45.0, 45.0),
    )


# Each target, the same function in a formula of its own, and an interval that covers where it bends.
TARGETS = {
    "exp": (Exp(), np.exp, (-40.0, 0.0)),
    "log": (Log(0.2, 60.0), np.log, (0.2, 60.0)),
    "softplus tail": (SoftplusTail(), lambda t: np.logaddexp(0.0, -t), (0.0, 40.0)),
    "rising": ratio(0.3, 2.0, -1.0, -2.5),
    "falling": ratio(4.0, 0.0, 0.0, 3.0),
    "weak": ratio(0.0, 0.02, 0.01, 0.0),
}


def sampled(p, name, points=200_001):
    """Smallest and largest error found on a grid, the knots of p, and far out."""
    target, g, (low, high) = TARGETS[name]
    x = np.concatenate((np.linspace(low, high, points), p.knots, [10 * low, 10 * high]))
    x = np.clip(x, target.low, target.high)
    errors = p(x) - g(x)
    return errors.min(), errors.max()
