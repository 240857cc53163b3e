"""The denoiser given evidence: what the reference says of all that is known together."""

import pickle

import pandas as pd
import pytest
import torch
from diffusion.models import channel, noisy, tree, unet
from oracles.trees import CASES, draw_evidence

import hgm
from hgm.diffusion import Denoiser

NAMES = tree().names
EVIDENCE = {
    "nothing": None,
    "label": {"label": 1},
    "labels by row": {"label": [0, 1, 2, 0, 1]},
    "pixels": {"x0_0": 2, "x1_3": 0},
    "pixels by row": {"x0_0": [2, 1, 0, None, 2]},
    "inner": {NAMES[2]: {0: 0.2, 1: 0.3, 2: 0.5}},
    "mixture": {"label": 1, "x0_0": [0, 1, 2, 0, 1], NAMES[2]: hgm.Likelihood([0.2, 0.0, 0.5])},
    "frame": pd.DataFrame({"label": [0, 1, 2, 0, 1], "x0_1": [0, 1, None, 0, 1]}),
}


def reference(evidence, z, *noise, over=None):
    """log evidence of a noisy image and of what else is known: independent observations multiply."""
    e = hgm.log_evidence(tree(), z, *noise, channel=channel() if over is None else over)
    return hgm.infer(tree(), e if evidence is None else e + hgm.log_evidence(tree(), evidence))


@pytest.mark.parametrize("kind", EVIDENCE)
@pytest.mark.parametrize("noise", [(0.7,), (0.7, 0.4), (torch.linspace(0.2, 2, 5),)], ids=["sigma", "alpha", "by row"])
def test_means_are_those_of_the_reference(kind, noise):
    evidence, z = EVIDENCE[kind], noisy()
    got = Denoiser(tree(), channel(), evidence)(z, *noise)
    want = reference(evidence, z, *noise).mean(channel())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["soft", "zeros", "inner"])
def test_on_every_tree_and_evidence_anywhere(name, kind):
    case = CASES[name]
    seen = draw_evidence(case, kind)
    states = int(case.tree.cardinality[case.tree.leaves].max())
    over, z = hgm.Gaussian(torch.arange(float(states))), noisy(1, case.tree.leaf_shape)
    rows = hgm.log_evidence(case.tree, seen.given)
    z = z.expand(len(rows), *z.shape[1:]).contiguous()
    got = Denoiser(case.tree, over, seen.given)(z, 0.8)
    e = hgm.log_evidence(case.tree, z, 0.8, channel=over) + rows
    torch.testing.assert_close(got, hgm.infer(case.tree, e).mean(over), rtol=0, atol=1e-10)


def test_without_evidence_it_is_the_compiled_network():
    z = noisy()
    assert torch.equal(Denoiser(tree(), channel())(z, 0.7), unet()(z, 0.7))


@pytest.mark.parametrize("kind", ["labels by row", "pixels by row", "mixture"])
def test_rows_of_evidence_go_with_rows_of_images(kind):
    whole, z = Denoiser(tree(), channel(), EVIDENCE[kind]), noisy()
    torch.testing.assert_close(whole.rows(slice(1, 4))(z[1:4], 0.7), whole(z, 0.7)[1:4], rtol=0, atol=1e-14)
    with pytest.raises(hgm.BadEvidence, match="the evidence has 5 rows, but the observation has 3"):
        whole(z[:3], 0.7)
    same = Denoiser(tree(), channel(), {"label": 1})
    assert same.rows(slice(0, 2)) is same


def test_large_batches_that_run_in_slices_keep_their_rows(monkeypatch):
    monkeypatch.setattr("hgm.networks.running.SLICE", 200)
    labels = [0, 1, 2] * 20
    denoiser, z = Denoiser(tree(), channel(), {"label": labels, "x0_0": labels}), noisy(60)
    with torch.no_grad():
        torch.testing.assert_close(denoiser(z, 0.7)[37:38], denoiser.rows(slice(37, 38))(z[37:38], 0.7))


def test_symbols_posteriors_and_other_queries():
    z = torch.randint(-1, 3, (5, 4, 4), generator=torch.Generator().manual_seed(0))
    evidence = {"label": [0, 1, 2, 0, 1]}
    got = Denoiser(tree(), hgm.Flip(), evidence, "posterior")(z, 0.2)
    want = reference(evidence, z, 0.2, over=hgm.Flip()).marginals[..., -16:].unflatten(2, (4, 4))
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-6)
    every = Denoiser(tree(), hgm.Erasure(), {"x0_0": 1}, "posterior", "all")(z[:1].clamp_max(-1))
    torch.testing.assert_close(every.double(), hgm.infer(tree(), {"x0_0": [1]}).marginals, rtol=0, atol=1e-6)


def test_pickle_an_empty_batch_and_single_precision():
    denoiser = Denoiser(tree(), channel(), {"label": 1, "x0_0": 2})
    again = pickle.loads(pickle.dumps(denoiser))
    assert torch.equal(again(noisy(), 0.7), denoiser(noisy(), 0.7))
    assert denoiser(noisy(0), 0.7).shape == (0, 4, 4)
    for dtype in (torch.float32, torch.float16):
        assert denoiser(noisy(dtype=dtype), 0.7).dtype == dtype
    assert torch.equal(denoiser(noisy().numpy(), 0.7), denoiser(noisy(), 0.7))
    assert torch.equal(denoiser(noisy().tolist(), 0.7), denoiser(noisy(), 0.7))


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({"labl": 1}, "did you mean 'label'"),
        ({"label": 7}, "label"),
        ({"label": hgm.Likelihood([0.0, 0.0, 0.0])}, "leaves it no state"),
        (3, "evidence|observation"),
    ],
)
def test_wrong_evidence_is_refused(evidence, message):
    with pytest.raises(hgm.HgmError, match=message):
        Denoiser(tree(), channel(), evidence)


def test_gradients_reach_the_image_and_evidence_is_its_own():
    likelihood = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
    denoiser, z = Denoiser(tree(), channel(), {"label": likelihood}), noisy(1).requires_grad_()
    before = denoiser(z, 0.7).detach().clone()
    likelihood.zero_()
    assert torch.equal(denoiser(z, 0.7), before)
    (slope,) = torch.autograd.grad(denoiser(z, 0.7).sum(), z)
    assert slope.abs().sum() > 0


def test_evidence_of_one_row_is_that_of_all():
    one, z = Denoiser(tree(), channel(), {"label": [1], "x0_0": [2]}), noisy()
    torch.testing.assert_close(one(z, 0.7), Denoiser(tree(), channel(), {"label": 1, "x0_0": 2})(z, 0.7))
    assert one.rows(slice(0, 2)) is one


def test_some_rows_move_with_the_module():
    part = Denoiser(tree(), channel(), {"label": [0, 1, 2], "x0_0": [0, 1, 2]}).rows(slice(0, 2))
    assert {"told", "known"} <= set(dict(part.half().named_buffers())) and part.told.dtype == torch.float16
