"""The source of a network runs with torch alone, and gives what the network and enumeration give."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from oracles.trees import CASES, KINDS, draw_evidence

import hgm


def run(net, e):
    names = {}
    exec(compile(net.source(), "source", "exec"), names)
    return names["network"](e)


def evidence_of(net, case, evidence):
    """``(B, S, n_in)``: of the inputs, written without hgm's own code for it."""
    e, tree = evidence.log_tensor(case), net.plan.tree
    names = [tree.names[v] for v in net.plan.inputs.tolist()]
    return e[:, :, [case.tree.index(name) for name in names]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_gives_the_marginals_of_the_joint(case, kind):
    evidence = draw_evidence(case, kind)
    net = hgm.compile(case.tree, query="all", observed="all", schedule="levels")
    posterior, log_z = run(net, evidence_of(net, case, evidence))
    for b, joint in enumerate(evidence.joints(case)):
        assert float(log_z[b]) == pytest.approx(joint.log_z, abs=1e-10)
        for i, v in enumerate(net.query.tolist()):
            name = net.plan.tree.names[v]
            np.testing.assert_allclose(posterior[b, : case.card(name), i], joint.marginal(name), atol=1e-12)
            assert (posterior[b, case.card(name) :, i] == 0).all()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_the_classifier_of_any_variable(case):
    evidence = draw_evidence(case, "batch")
    for name in case.names[:: max(1, len(case.names) - 1)]:
        net = hgm.compile(case.tree, "classify", query=name, observed="all", schedule="levels")
        posterior, _ = run(net, evidence_of(net, case, evidence))
        for b, joint in enumerate(evidence.joints(case)):
            np.testing.assert_allclose(posterior[b], joint.marginal(name), atol=1e-12)


@pytest.mark.parametrize("values", [[-1.0, 0.0, 2.0], [[0.0, 1.0], [2.0, 3.0], [4.0, -5.0]]])
def test_it_is_the_denoiser_behind_its_channel(values):
    tree = hgm.ghm([hgm.Level((2, 2), 4), hgm.Level((2, 1), 3)], 3, seed=0)
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian(values))
    g = torch.Generator().manual_seed(0)
    z = torch.randn(5, *([2] if np.ndim(values) == 2 else []), 4, 2, generator=g, dtype=torch.float64)
    mean, log_z = run(net, net.channel(z, 0.7).flatten(2))
    torch.testing.assert_close(mean.reshape(z.shape), net(z, 0.7), atol=1e-12, rtol=0)
    assert log_z.shape == (5,)


def test_what_was_learned_is_in_the_text():
    net = hgm.compile(hgm.star(3, 2, seed=0), trainable=True)
    before = net.source()
    with torch.no_grad():
        next(net.parameters()).mul_(0.5)
    e = torch.randn(2, 2, 3, dtype=torch.float64)
    assert net.source() != before
    torch.testing.assert_close(run(net, e)[0], net(e), atol=1e-12, rtol=0)


def test_it_needs_torch_only():
    text = hgm.compile(CASES["rhm"].tree).source()
    code = (
        "import sys; exec(sys.stdin.read()); assert not any(m.startswith('hgm') for m in sys.modules); print(network)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True)
    assert "function network" in done.stdout


def test_names_of_any_kind_do_no_harm():
    names = ['a"""', "b\nc", ("d", 1), "\\"]
    tree = hgm.Tree.from_edges([(names[0], name, np.eye(2) + 1) for name in names[1:]])
    net = hgm.compile(tree)
    e = torch.randn(2, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(run(net, e)[0], net(e), atol=1e-12, rtol=0)


def test_where_there_is_none_it_says_what_to_do():
    with pytest.raises(hgm.BadSpec, match='compile with schedule="levels"'):
        hgm.compile(hgm.hmm(60), schedule="paths").source()
    with pytest.raises(hgm.BadSpec, match="Windowed does more than run its plan"):
        hgm.ablate(hgm.broadcast(2, 3, 2, eps=0.1), "window", radius=1).source()
    with pytest.raises(hgm.BadSpec, match="ReLU network"):
        hgm.compile(hgm.star(2, 2, seed=0), activation="relu", tol=0.5).source()
