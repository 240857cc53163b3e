"""What inference gives is read back as it was handed in: mappings by name, leaves in their shape."""

import warnings
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from torch.masked import masked_tensor

import hgm

WEATHER = hgm.Tree.from_edges(
    [("sky", "wet", [[0.1, 0.9], [0.8, 0.2]]), ("sky", "n", [[1, 0, 0], [0, 0, 1]])],
    {"sky": [0.3, 0.7]},
    {"sky": ["sun", "rain"], "wet": ["yes", "no"]},
)
GRID = hgm.ghm([hgm.Level((2, 2), 3, hgm.Edge(np.eye(3) + 0.2)), hgm.Level((2, 3), 3, hgm.Edge(np.eye(3) + 0.4))], 3)
VECTORS = [[0.0, 1.0], [2.0, 3.0], [4.0, -5.0]]


def draws(tree, evidence=None, n=5):
    return hgm.infer(tree, evidence).sample(n, generator=torch.Generator().manual_seed(0))


# ---------------------------------------------------------------------- mappings


@pytest.mark.parametrize("what", ["posterior", "mode", "samples"])
def test_results_are_mappings(what):
    post = hgm.infer(WEATHER)
    result = {"posterior": post, "mode": post.mode(), "samples": draws(WEATHER)}[what]
    assert isinstance(result, Mapping)
    assert list(result.keys()) == list(WEATHER.names) == ["sky", "wet", "n"]
    assert [str(x) for x in result.values()] == [str(result[name]) for name in WEATHER.names]
    assert str(result.get("sky")) == str(result["sky"])
    assert result.get("snow") is None and result.get("snow", 3) == 3
    assert result.get(["sky"], 3) == 3 and ["sky"] not in result
    assert result == result and result != hgm.infer(WEATHER) and {result: 1}[result] == 1
    assert {**result}.keys() == result.keys()


def test_the_length_of_samples_is_that_of_a_mapping():
    samples = draws(WEATHER, n=7)
    assert len(samples) == len(list(samples)) == len(dict(samples)) == 3
    assert len(samples.states) == 7


def test_a_mode_and_samples_are_evidence_as_they_are():
    post = hgm.infer(WEATHER, {"wet": ["yes", "no", None]})
    mode, samples = post.mode(), draws(WEATHER)
    assert hgm.infer(WEATHER, mode).mode().states.tolist() == mode.states.tolist()
    assert hgm.infer(WEATHER, samples).mode().states.tolist() == samples.states.tolist()
    assert hgm.fit(WEATHER, samples, iterations=2).tree.names == WEATHER.names


@pytest.mark.parametrize("read", [hgm.infer, hgm.fit, hgm.log_evidence, hgm.log_partition])
def test_results_that_are_no_evidence_are_refused(read):
    post = hgm.infer(
        WEATHER, {"wet": ["yes", "no", None]}
    )  # as many rows as n has states: likelihoods, by their shapes
    with pytest.raises(hgm.BadEvidence, match="a Posterior is what was inferred, and no evidence"):
        read(WEATHER, post)
    samples = post.sample(5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(hgm.BadEvidence, match=r"samples given a batch of evidence are \(n, B, V\), here \(5, 3, 3\)"):
        read(WEATHER, samples)
    with pytest.raises(hgm.BadEvidence, match="what was inferred"):
        hgm.compile(WEATHER, "posterior").given(post)


@pytest.mark.parametrize("key", [["sky", "wet"], slice(0, 2), {"sky"}, np.array(["sky"]), torch.zeros(2)])
@pytest.mark.parametrize("what", ["posterior", "mode", "samples"])
def test_several_names_at_once_are_one_clear_error(what, key):
    post = hgm.infer(WEATHER)
    result = {"posterior": post, "mode": post.mode(), "samples": draws(WEATHER)}[what]
    with pytest.raises(hgm.BadEvidence, match="asked for one variable by its name"):
        result[key]


# ---------------------------------------------------------------------- leaves


def test_leaves_come_in_their_shape():
    one = draws(GRID)
    assert GRID.leaf_shape == (4, 6)
    assert one.leaves.shape == (5, 4, 6)
    for at in np.ndindex(5, 4, 6):
        name = GRID.names[len(GRID) - 24 + at[1] * 6 + at[2]]
        assert one.leaves[at] == one.states[at[0], GRID.index(name)]
    batch = hgm.infer(GRID, {GRID.names[0]: [0, 1, 2]})
    assert draws(GRID, {GRID.names[0]: [0, 1, 2]}).leaves.shape == (5, 3, 4, 6)
    assert batch.mode().leaves.shape == (3, 4, 6)
    assert hgm.infer(GRID).mode().leaves.shape == (4, 6)
    assert draws(CASES["ragged"].tree).leaves.shape == (5, len(CASES["ragged"].tree.leaves))
    assert draws(GRID, n=0).leaves.shape == (0, 4, 6)


@pytest.mark.parametrize(
    ("channel", "table"),
    [
        (hgm.Gaussian(), [0.0, 1.0, 2.0]),
        (hgm.Soft(), [0.0, 1.0, 2.0]),
        (hgm.Gaussian([-1.0, 0.5, 9.0]), [-1.0, 0.5, 9.0]),
        (hgm.Missing(hgm.Gaussian([-1.0, 0.5, 9.0])).float(), [-1.0, 0.5, 9.0]),
        (hgm.Gaussian(VECTORS), VECTORS),
    ],
)
def test_values_and_means_of_the_leaves(channel, table):
    table = np.array(table)
    for evidence in (None, {GRID.names[0]: [0, 1, 2]}):
        post, samples = hgm.infer(GRID, evidence), draws(GRID, evidence)
        values, means = samples.values(channel), post.mean(channel)
        assert values.dtype == means.dtype == torch.float64
        want, p = table[samples.leaves.numpy()], post.marginals[..., GRID.leaves].numpy()
        if table.ndim == 2:
            want = np.moveaxis(want, -1, -3)
            np.testing.assert_allclose(means.flatten(-2), np.einsum("sk,...sn->...kn", table, p), atol=1e-12)
        else:
            np.testing.assert_allclose(means.flatten(-2), np.einsum("s,...sn->...n", table, p), atol=1e-12)
        np.testing.assert_array_equal(values, want)
        assert post.mode().values(channel).shape == means.shape
    assert channel.values is None or len(channel.values) == 3


def test_means_are_those_of_a_denoiser_and_differentiable():
    channel = hgm.Gaussian([-1.0, 0.5, 9.0])
    z = channel.observe(draws(GRID).leaves, 0.7, generator=torch.Generator().manual_seed(1)).double()
    net = hgm.compile(GRID, "denoise", channel=channel)
    e = channel(z, 0.7).requires_grad_()
    whole = torch.zeros(5, 3, len(GRID), dtype=torch.float64)
    whole[..., GRID.leaves] = e.flatten(2)
    means = hgm.infer(GRID, whole).mean(channel)
    torch.testing.assert_close(means, net(z, 0.7), rtol=0, atol=1e-9)
    (gradient,) = torch.autograd.grad(means.sum(), e)
    assert gradient.abs().max() > 0.1


def test_means_of_values_that_are_all_large_are_exact():
    near = hgm.infer(GRID).mean(hgm.Gaussian([0.0, 1.0, 2.0]))
    far = hgm.infer(GRID).mean(hgm.Gaussian([1e15, 1e15 + 1, 1e15 + 2]))
    assert ((far - 1e15) - near).abs().max() <= 0.125


def test_leaves_with_different_numbers_of_states():
    tree = WEATHER
    samples = draws(tree)
    values = samples.values(hgm.Gaussian([10.0, 20.0, 30.0]))
    np.testing.assert_array_equal(values, np.array([10.0, 20.0, 30.0])[samples.states[:, 1:].numpy()])
    mean = hgm.infer(tree).mean(hgm.Gaussian([10.0, 20.0, 30.0]))
    np.testing.assert_allclose(mean, [0.59 * 10 + 0.41 * 20, 0.3 * 10 + 0.7 * 30])


@pytest.mark.parametrize(
    ("channel", "message"),
    [(hgm.Gaussian([1.0, 2.0]), "2 states"), (3, "values are those of a Channel"), (hgm.Gaussian, "of a Channel")],
)
def test_values_of_no_channel_for_the_leaves_are_refused(channel, message):
    for ask in (draws(GRID).values, hgm.infer(GRID).mode().values, hgm.infer(GRID).mean):
        with pytest.raises(hgm.BadEvidence, match=message):
            ask(channel)


# ---------------------------------------------------------------------- arrays of one's own


def test_torch_does_not_warn_about_arrays_of_a_tree():
    case = CASES["ragged"].tree
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for array in (case.leaves, case.roots, case.scope_of(0), case.children_of(0), case.at_level(1)):
                torch.from_numpy(array).add_(1)
            for potential in (*case.potentials, hgm.Edge([[1.0, 2.0]]), hgm.Rules((2, 2), [[0, 1]], [2.0])):
                torch.from_numpy(potential.values).add_(1)
            hgm.infer(case).marginals[:, case.leaves]
    finally:
        torch.set_warn_always(False)
    assert case.inner[case.leaves].sum() == 0 and (case.level[case.roots] == 0).all()
    assert case == CASES["ragged"].tree and hgm.Edge([[1.0, 2.0]]).values.tolist() == [[1.0, 2.0]]


def test_factor_marginals_of_variables_that_are_called_by_numbers_and_tuples():
    now, then = ("A", 0), 1
    tree = hgm.Tree.from_edges([(now, then, [[0.9, 0.1], [0.3, 0.7]])], {now: [0.2, 0.8]})
    post = hgm.infer(tree)
    assert post.factor_marginals(now).tolist() == pytest.approx([0.2, 0.8])
    for scope in ((now, then), [then, now]):
        assert post.factor_marginals(scope).flatten().tolist() == pytest.approx([0.18, 0.02, 0.24, 0.56])
    assert torch.equal(post.factor_marginals(0), post.factor_marginals(now))
    with pytest.raises(hgm.BadSpec, match="no factor over"):
        post.factor_marginals(1)  # a variable without a factor of its own, not factor 1


@pytest.mark.parametrize("rows", [None, 2])
def test_what_is_done_to_a_result_in_place_changes_no_later_answer(rows):
    post = hgm.infer(WEATHER, {"wet": "yes" if rows is None else ["yes", "no"]})

    def answers(post):
        mode = post.mode()
        parts = post.log_partition, post.marginals, post["sky"], post.factor_marginals(0), mode.log_prob, mode.log_score
        return *parts, mode.states, post.mean(hgm.Gaussian())

    want = [x.clone() for x in answers(hgm.infer(WEATHER, {"wet": "yes" if rows is None else ["yes", "no"]}))]
    for x in answers(post):
        x.fill_(5)
    assert all(torch.equal(x, y) for x, y in zip(answers(post), want, strict=True))


# ---------------------------------------------------------------------- assignments and trees


def test_samples_of_one_tree_are_read_by_another_one_by_name_and_label():
    tree = hgm.Tree.from_edges(
        [("a", "b", [[0.9, 0.1], [0.2, 0.8]]), ("b", "c", [[0.7, 0.3], [0.4, 0.6]])],
        {"a": [0.3, 0.7]},
        {"a": ["no", "yes"], "b": 2, "c": [5, 7]},
    )
    turned = hgm.Tree.from_edges(
        [("a", "b", [[0.2, 0.8], [0.9, 0.1]]), ("b", "c", [[0.3, 0.7], [0.6, 0.4]])],
        {"a": [0.7, 0.3]},
        {"a": ["yes", "no"], "b": 2, "c": [7, 5]},
    )
    samples, mode = draws(tree, {"a": ["yes", "no", None]}), hgm.infer(tree).mode()
    want, best = hgm.log_likelihood(tree, samples), hgm.log_likelihood(tree, mode)
    for other in (tree.reroot("c"), turned, turned.reroot("b")):
        torch.testing.assert_close(hgm.log_likelihood(other, samples), want)
        torch.testing.assert_close(hgm.infer(other).log_prob(mode), best)
    smaller = hgm.Tree.from_edges([("a", "b", np.ones((2, 2)))], variables={"a": ["no", "yes"], "b": 2})
    larger = hgm.Tree.from_edges(
        [("a", "b", np.ones((2, 2))), ("a", "c", np.ones((2, 2))), ("a", "d", np.ones((2, 2)))],
        variables={"a": ["no", "yes"], "c": [5, 7]},
    )
    others = hgm.Tree.from_edges(
        [("a", "b", np.ones((2, 2))), ("a", "c", np.ones((2, 2)))], variables={"a": ["n", "y"], "c": [5, 7]}
    )
    for other, message in ((smaller, "no variable 'c'"), (larger, "missing: d"), (others, "variable 'a' are n, y; in")):
        with pytest.raises(hgm.BadEvidence, match=message):
            hgm.log_likelihood(other, samples)


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1, 1)])
def test_a_complete_assignment_has_no_masked_states(shape):
    tree = hgm.Tree.from_edges([("a", "b", [[1.0, 3.0], [2.0, 2.0]])])
    states, hidden = np.array([0, 1]).reshape(shape), np.array([False, True]).reshape(shape)
    for masked in (np.ma.array(states, mask=hidden), masked_tensor(torch.tensor(states), torch.tensor(~hidden))):
        with pytest.raises(hgm.BadEvidence, match="has no missing states; variable 'b' has one"):
            hgm.log_likelihood(tree, {"a": states, "b": masked})
    whole = hgm.log_likelihood(tree, {"a": states, "b": np.ma.array(states, mask=False)})
    assert torch.equal(whole, hgm.log_likelihood(tree, {"a": states, "b": states}))
