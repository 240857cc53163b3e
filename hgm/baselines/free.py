"""Compiled networks with free weights: the class of functions in which empirical risk minimisation looks for one.

From the constructive start they are the exact answer, and learning can only move them; from a random start they have
the architecture and nothing else. Both are wider with more hidden states (`hgm.baselines.widened`).

Those of ReLUs have a free weight for every kink and every slope; the constructive start is within `TOLERANCE` of exact.
"""

from __future__ import annotations

import numpy as np
import torch

from hgm.baselines.problem import Problem
from hgm.baselines.registry import baseline
from hgm.baselines.widened import drawn, widened
from hgm.evidence.channels import Erasure
from hgm.networks.compile import compile
from hgm.networks.heads import ConvNet, UNet

__all__ = ["compiled", "compiled_random", "relu", "relu_random"]

TOLERANCE = 0.1  # of log posteriors, in ReLU networks
FLOOR = 20.0  # of log evidence in ReLU networks, where symbols exclude states


@baseline("compiled")
def compiled(problem: Problem, width: int) -> ConvNet | UNet:
    """The compiled network with free weights, from the constructive start: exact before it learns."""
    tree = widened(problem.tree, width - 1, problem.task != "classify")
    return compile(tree, problem.task, channel=problem.channel, trainable=True)


@baseline("compiled_random")
def compiled_random(problem: Problem, width: int) -> ConvNet | UNet:
    """The compiled network with free weights, from a random start."""
    tree = widened(problem.tree, width - 1, problem.task != "classify")
    rng = np.random.default_rng(int(torch.randint(2**31, (), device="cpu")))
    return compile(drawn(tree, rng), problem.task, channel=problem.channel, trainable=True)


@baseline("relu")
def relu(problem: Problem, width: int) -> ConvNet | UNet:
    """The compiled network of ReLUs with free weights, from the constructive start: near exact."""
    floor = FLOOR if isinstance(problem.channel, Erasure) else None
    tree = widened(problem.tree, width - 1, problem.task != "classify")
    options = dict(trainable=True, activation="relu", tol=TOLERANCE, floor=floor)
    return compile(tree, problem.task, channel=problem.channel, **options)  # type: ignore[arg-type]


@baseline("relu_random")
def relu_random(problem: Problem, width: int) -> ConvNet | UNet:
    """The compiled network of ReLUs with free weights, from a random start.

    Every tensor is drawn anew, normal with the mean and spread that it has by construction; nothing else is kept.
    """
    net = relu(problem, width)
    with torch.no_grad():
        for weight in net.parameters():
            kept = weight.isfinite()  # zeros of potentials are structure
            if len(values := weight[kept]):
                weight[kept] = values.mean() + values.std(correction=0) * torch.randn_like(values)
    return net
