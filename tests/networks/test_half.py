"""Half precision in and out: all between is computed in single, so the error is that of rounding once at each end."""

import pytest
import torch
from dispatched import Operators
from oracles.trees import CASES

import hgm
from hgm.testing import assert_close, feed, random_evidence

#: half a unit in the last place of numbers from 0.5 to 1
ROUNDING = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}
halves = pytest.mark.parametrize("dtype", ROUNDING)


@halves
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_probabilities_are_those_of_the_rounded_evidence_rounded_once(case, dtype):
    e = random_evidence(case.tree, 0).to(dtype)
    net = hgm.compile(case.tree, query="all", observed=case.tree.names)
    args, kwargs = feed(net, case.tree, e.double())
    half = [x.to(dtype) for x in args], {name: x.to(dtype) for name, x in kwargs.items()}
    p, log_z = net(*half[0], **half[1], outputs=("posterior", "log_partition"))
    want, want_log_z = net(*args, **kwargs, outputs=("posterior", "log_partition"))
    assert p.dtype == log_z.dtype == dtype
    assert_close(p.double(), want, ROUNDING[dtype] + 1e-6, "posterior")
    assert bool(((log_z.double() - want_log_z).abs() <= 2 * ROUNDING[dtype] * want_log_z.abs() + 1e-5).all())


@halves
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("channel", [hgm.Soft(), hgm.Gaussian()], ids=lambda c: c.kind)
def test_nothing_is_computed_in_half_precision(channel, trainable, dtype):
    tree = hgm.random_ghm(3, 3, 2, seed=0)
    net = hgm.compile(tree, channel=channel, trainable=trainable)
    z, *sigma = (torch.randn(5, 8), torch.full((5,), 0.5)) if channel.kind == "gaussian" else (torch.randn(5, 3, 8),)
    with Operators() as operators:
        net(z.to(dtype), *(x.to(dtype) for x in sigma))
    assert {name for name, found in operators.dtypes if found == dtype} == {"_to_copy"}  # of the answer
