"""What was seen, handed in in every way, means the same to all that read it; what could be mistaken is refused."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import hgm
from hgm.evidence.data import read_data

INF = math.inf
MISTAKEN = "could mean their labels or their indices; give states by name"
LABELS = {
    "words": ("no", "yes", "so"),
    "counting from 1": (1, 2, 3),
    "digits as text": ("1", "0", "2"),
    "numbers": (0.5, 2.0, 1.0),
    "spins": (-1, 0, 1),
    "mixed": ("2", 1, ("t", 0)),
    "none": None,
}
TABLE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])
PRIOR = np.array([0.2, 0.3, 0.5])


@pytest.fixture(params=LABELS)
def tree(request) -> hgm.Tree:
    """A hidden state and two that are seen, all with the same labels."""
    labels = LABELS[request.param] or 3
    edges = [("h", "a", TABLE), ("h", "b", TABLE.T.copy())]
    return hgm.Tree.from_edges(edges, {"h": PRIOR}, {"h": labels, "a": labels, "b": labels})


def posterior(a, b) -> np.ndarray:
    """p(h | rows of likelihoods of a and b), by Bayes' rule."""
    joint = PRIOR * (np.asarray(a) @ TABLE.T) * (np.asarray(b) @ TABLE)
    return joint / joint.sum(-1, keepdims=True)


STATES = [(0, 2), (1, 1), (2, -1), (-1, 0)]  # of a and b, -1 is missing
ROWS = [[np.eye(3)[s] if s >= 0 else np.ones(3) for s in column] for column in zip(*STATES, strict=True)]


def ways(tree: hgm.Tree) -> dict[str, dict]:
    """The same evidence of a and b, by name, in every form."""
    called = tree.labels(1) or (0, 1, 2)
    rows = {v: np.array(own) for v, own in zip("ab", ROWS, strict=True)}
    plain = {v: [None if row[i] < 0 else called[row[i]] for row in STATES] for i, v in enumerate("ab")}
    objects = {}
    for v, column in plain.items():
        objects[v] = np.empty(4, dtype=object)
        objects[v][:] = column
    out = {
        "lists": plain,
        "objects": objects,
        "frame": pd.DataFrame({v: pd.Series(column, dtype=object) for v, column in plain.items()}),
        "categories": {v: pd.Series(pd.Categorical(column, categories=list(called))) for v, column in plain.items()},
        "sets": {v: [None if x is None else {x} for x in column] for v, column in plain.items()},
        "masked": {v: np.ma.array(x, mask=[y is None for y in x]) for v, x in objects.items()},
        "likelihoods": rows,
        "allowed": {v: own > 0 for v, own in rows.items()},
        "by label": {v: {x: own[:, s] for s, x in enumerate(called)} for v, own in rows.items()},
        "logs": {v: hgm.Likelihood.log(np.where(own > 0, 5.0, -INF)) for v, own in rows.items()},
    }
    if all(isinstance(x, int | float) for x in called):
        floats = {v: [math.nan if x is None else float(x) for x in column] for v, column in plain.items()}
        out |= {
            "floats": {v: np.array(x) for v, x in floats.items()},
            "tensors": {v: torch.tensor(x) for v, x in floats.items()},
        }
        out["frame of floats"] = pd.DataFrame(floats)
    if tree.state_names(1).by_index:
        out["indices"] = {v: np.array([row[i] for row in STATES]) for i, v in enumerate("ab")}
        out["small indices"] = {v: torch.tensor(x, dtype=torch.int8) for v, x in out["indices"].items()}
        out["indices in floats"] = pd.DataFrame(out["indices"]).replace(-1, None).astype(float)
    return out


def test_every_way_of_handing_in_the_same_evidence_gives_the_same_answer(tree):
    want = posterior(*ROWS)
    net = hgm.compile(tree, "classify").double()
    learned = None
    for way, given in ways(tree).items():
        np.testing.assert_allclose(hgm.infer(tree, given)["h"], want, atol=1e-14, err_msg=way)
        if not isinstance(given, pd.DataFrame):
            np.testing.assert_allclose(net.given(given), want, atol=1e-14, err_msg=way)
        fit = hgm.fit(tree, given, iterations=2, progress=False)
        learned = learned or fit
        assert fit.rows == 4 and fit.log_likelihood[0] - learned.log_likelihood[0] in (0, pytest.approx(4 * 2 * 5)), way
        for p, q in zip(fit.tree.potentials, learned.tree.potentials, strict=True):
            np.testing.assert_allclose(p.values, q.values, atol=1e-14, err_msg=way)


def test_one_row_is_read_as_many_are(tree):
    called = tree.labels(1) or (0, 1, 2)
    for s, t in STATES[:2]:
        want = posterior(np.eye(3)[s], np.eye(3)[t])
        for one in ({"a": called[s], "b": called[t]}, {"a": {called[s]}, "b": {called[t]: 0.3}}):
            np.testing.assert_allclose(hgm.infer(tree, one)["h"], want, atol=1e-14)
        for one in ({"a": [called[s]], "b": [called[t]]}, pd.DataFrame({"a": [called[s]], "b": [called[t]]})):
            np.testing.assert_allclose(hgm.infer(tree, one)["h"], want[None], atol=1e-14)


def test_complete_assignments_are_read_so_too(tree):
    called = tree.labels(1) or (0, 1, 2)
    states = np.array(list(np.ndindex(3, 3, 3)))
    joint = PRIOR[states[:, 0]] * TABLE[states[:, 0], states[:, 1]] * TABLE.T[states[:, 0], states[:, 2]]
    columns = {v: [called[s] for s in states[:, i]] for i, v in enumerate("hab")}
    want = np.log(joint / (PRIOR * TABLE.sum(1) * TABLE.T.sum(1)).sum())
    samples = hgm.infer(tree).sample(5, generator=torch.Generator().manual_seed(0))
    for given in (columns, pd.DataFrame({v: pd.Series(x, dtype=object) for v, x in columns.items()})):
        np.testing.assert_allclose(hgm.log_likelihood(tree, given), want, atol=1e-12)
    np.testing.assert_allclose(hgm.log_likelihood(tree, samples), hgm.log_likelihood(tree, dict(samples)), atol=1e-14)
    if tree.state_names(0).by_index:
        np.testing.assert_allclose(hgm.log_likelihood(tree, states), want, atol=1e-12)
    else:
        with pytest.raises(hgm.BadEvidence, match=MISTAKEN):
            hgm.log_likelihood(tree, states)
    with pytest.raises(hgm.BadEvidence, match="no missing states; variable 'b' has one"):
        hgm.log_likelihood(tree, {"h": called[0], "a": called[0], "b": None})


def test_arrays_of_all_leaves_hold_state_numbers_and_are_refused_where_labels_could_be_meant(tree):
    x = np.array(STATES)
    for given in (x, x.tolist(), torch.tensor(x, dtype=torch.int32), np.ma.masked_less(x, 0)):
        if tree.state_names(1).by_index:
            np.testing.assert_allclose(hgm.infer(tree, given)["h"], posterior(*ROWS), atol=1e-14)
            assert read_data(tree, given).states.tolist() == x.tolist()
        else:
            for read in (hgm.infer, hgm.fit, hgm.log_evidence):
                with pytest.raises(hgm.BadEvidence, match=MISTAKEN):
                    read(tree, given)
    logs = np.log(np.stack(ROWS, -1), where=np.stack(ROWS, -1) > 0, out=np.full((4, 3, 2), -INF))
    np.testing.assert_allclose(hgm.infer(tree, logs)["h"], posterior(*ROWS), atol=1e-14)


# ---------------------------------------------------------------------- through a channel


@pytest.fixture
def grid() -> hgm.Tree:
    return hgm.ghm([hgm.Level((2, 1), 2), hgm.Level((1, 2), 3)], ["cat", "dog"], seed=3)


def test_an_observation_through_a_channel_is_its_log_evidence(grid):
    rng = np.random.default_rng(0)
    values = np.array([0.0, 1.0, 4.0])
    z, sigma = rng.normal(1, 2, (5, 2, 2)), rng.uniform(0.5, 2, 5)
    logs = -((z[:, None] - values[:, None, None]) ** 2) / (2 * sigma[:, None, None, None] ** 2)
    want = hgm.infer(grid, logs).marginals
    gaussian = hgm.Gaussian(values)
    by_name = {f"x{r}_{c}": z[:, r, c] for r in range(2) for c in range(2)}
    for given in (z, torch.tensor(z), z.tolist(), by_name, pd.DataFrame(by_name)):
        torch.testing.assert_close(hgm.infer(grid, given, sigma, channel=gaussian).marginals, want, rtol=0, atol=1e-13)
    for row in range(5):
        one = {name: float(column[row]) for name, column in by_name.items()}
        got = hgm.infer(grid, one, float(sigma[row]), channel=gaussian).marginals
        torch.testing.assert_close(got, want[row], rtol=0, atol=1e-13)
    assert hgm.fit(grid, z, sigma, channel=gaussian, iterations=1).history == hgm.fit(grid, logs, iterations=1).history
    some = {name: x for name, x in by_name.items() if name != "x0_1"}
    logs[:, :, 0, 1] = 0
    got = hgm.infer(grid, some | {"label": "dog", "x0_1": None}, sigma, channel=gaussian)
    want = hgm.infer(grid, logs, evidence={"label": "dog"})
    torch.testing.assert_close(got.marginals, want.marginals, rtol=0, atol=1e-13)


def test_symbols_through_a_channel(grid):
    x = torch.tensor([[[0, 2], [1, -1]]])
    for channel, noise, stay, move in [(hgm.Flip(), (0.3,), 0.7, 0.15), (hgm.Clamp(), (), 1.0, 0.0)]:
        likelihood = np.where(np.arange(3)[:, None, None] == x[:, None].numpy(), stay, move)
        likelihood[:, :, 1, 1] = 1.0
        by_name = {f"x{r}_{c}": likelihood[:, :, r, c] for r in range(2) for c in range(2)}
        want = hgm.infer(grid, by_name)
        for given in (x, x.numpy().astype("uint8") if channel is None else x, np.ma.masked_less(x.numpy(), 0)):
            got = hgm.infer(grid, given, *noise, channel=channel)
            torch.testing.assert_close(got.marginals, want.marginals, rtol=0, atol=1e-15)
        named = {"x0_0": 0, "x0_1": [2], "x1_0": 1}
        torch.testing.assert_close(hgm.infer(grid, named, *noise, channel=channel).marginals, want.marginals)


@pytest.fixture
def mixed() -> hgm.Tree:
    """A root over b, whose labels are the numbers 1, 2, 3, and c, which has two states without labels."""
    tables = [("a", "b", [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]), ("a", "c", [[0.8, 0.2], [0.1, 0.9]])]
    return hgm.Tree.from_edges(tables, variables={"a": 2, "b": [1, 2, 3], "c": 2})


@pytest.mark.parametrize(
    ("channel", "noise", "stay", "move"),
    [(hgm.Flip(), (0.3,), 0.7, 0.15), (hgm.Clamp(), (), 1, 0), (hgm.Erasure(), (), 1, 0)],
)
def test_symbols_by_name_are_states_called_by_their_labels(mixed, channel, noise, stay, move):
    likely = {"b": [[move, stay, move], [1, 1, 1], [move, move, stay]], "c": [[move, stay], [stay, move], [1, 1]]}
    want = hgm.infer(mixed, likely).marginals
    columns = {"b": [2, None, 3], "c": [1, 0, None]}
    masked = {"b": np.ma.array([2, 99, 3], mask=[0, 1, 0]), "c": np.array([1, 0, -1], dtype=np.int8)}
    for given in (columns, pd.DataFrame(columns), pd.DataFrame(columns, dtype="Int64"), masked):
        got = hgm.infer(mixed, given, *noise, channel=channel)
        torch.testing.assert_close(got.marginals, want, rtol=0, atol=1e-15)
    one = hgm.infer(mixed, {"b": 2, "c": 1}, *noise, channel=channel)
    torch.testing.assert_close(one.marginals, want[0], rtol=0, atol=1e-15)
    for given, message in (({"b": 0}, "no state 0; its labels are 1, 2, 3"), ({"c": 2}, "'c' has no state 2")):
        with pytest.raises(hgm.BadEvidence, match=message):
            hgm.infer(mixed, given, *noise, channel=channel)
    for read in (hgm.infer, hgm.fit, hgm.log_evidence):
        with pytest.raises(hgm.BadEvidence, match=MISTAKEN):
            read(mixed, torch.tensor([[2, 1]]), *noise, channel=channel)


def test_symbols_through_a_channel_are_states_of_their_variable(mixed):
    tree = hgm.Tree.from_edges([("a", "b", np.ones((2, 3))), ("a", "c", np.ones((2, 2)))])
    for channel, noise in ((hgm.Flip(), (0.3,)), (hgm.Clamp(), ())):
        with pytest.raises(hgm.BadEvidence, match=r"'c' has no state 2 \(batch row 1\); its states are 0 to 1"):
            hgm.infer(tree, torch.tensor([[2, 1], [0, 2]]), *noise, channel=channel)
    counts = torch.tensor([[2, 1], [0, 5]])  # of values, integers are no symbols, in networks neither
    net = hgm.compile(mixed, "posterior", channel=hgm.Gaussian())
    assert torch.equal(net(counts, 0.7), net(counts.float(), 0.7))


def test_observations_of_leaves_by_name_may_have_holes(grid):
    z, gaussian = np.array([[0.3, np.nan], [np.nan, 2.0], [1.0, 1.5]]), hgm.Gaussian([0.0, 1.0, 4.0])
    rows = [
        hgm.infer(grid, {n: x for n, x in zip(("x0_0", "x1_1"), row, strict=True) if x == x}, 0.5, channel=gaussian)
        for row in z
    ]
    want = torch.stack([row.marginals for row in rows])
    holes = [[None if x != x else x for x in column] for column in z.T.tolist()]
    masked = np.ma.masked_invalid(z)
    for left, right in [
        z.T,
        torch.tensor(z).T,
        holes,
        map(pd.Series, holes),
        (pd.array(h, "Float64") for h in holes),
        masked.T,
    ]:
        got = hgm.infer(grid, {"x0_0": left, "x1_1": right}, 0.5, channel=gaussian)
        torch.testing.assert_close(got.marginals, want, rtol=0, atol=1e-14)
    vectors = hgm.Gaussian([[0.0, 1.0], [1.0, 1.0], [4.0, 0.0]])
    got = hgm.infer(grid, {"x0_0": [[1.0, np.nan], [2.0, 0.0]]}, 0.5, channel=vectors)
    torch.testing.assert_close(got.marginals[0], hgm.infer(grid).marginals)
    torch.testing.assert_close(got.marginals[1], hgm.infer(grid, {"x0_0": [2.0, 0.0]}, 0.5, channel=vectors).marginals)


def test_noise_for_each_position_has_no_order_by_name(grid):
    for shape in ((1, 2), (1, 3, 2)):
        with pytest.raises(hgm.BadEvidence, match="leaves by name have noise that is a number or one per batch row"):
            hgm.infer(grid, {"x0_0": 0.5, "x0_1": 0.1}, torch.ones(shape), channel=hgm.Gaussian())


def test_gradients_reach_the_observation_and_give_the_score(grid):
    z = torch.zeros(1, 2, 2, dtype=torch.float64, requires_grad=True)
    post = hgm.infer(grid, z, 1.5, channel=hgm.Gaussian([0.0, 1.0, 4.0]))
    (score,) = torch.autograd.grad(post.log_partition.sum(), z)
    torch.testing.assert_close(score, (post.mean(hgm.Gaussian([0.0, 1.0, 4.0])) - z) / 1.5**2)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (([[0.0]], 1.0), {}, "what comes after the observation is for its channel: give channel=..."),
        ((np.zeros((1, 4)), 1.0), {"channel": hgm.Gaussian()}, r"must have shape \(B, 2, 2\); got \(1, 4\)"),
        ((np.zeros((1, 2, 2)),), {"channel": hgm.Gaussian()}, "Gaussian takes the observation, sigma"),
        ((np.zeros((1, 2, 2)), 1.0), {"channel": "gaussian"}, "channel must be a Channel"),
        ((np.zeros((1, 2, 2)), 1.0), {"channel": hgm.Gaussian([0.0, 1.0])}, "has values for 2 states"),
        (([[0, 1], [1, 0]],), {}, r"must have shape \(B, 2, 2\); got \(2, 2\)"),
        ((np.zeros((1, 2, 2)),), {}, "an observation with noise needs channel"),
        ((np.zeros((1, 2, 2), dtype=int),), {"evidence": {"x0_0": 1}}, "'x0_0' is observed twice"),
        (({"label": "cat"},), {"evidence": {"label": "cat"}}, "'label' is observed twice"),
        (([[[0, 1], [1, 0]]],), {"evidence": ["cat"]}, "evidence= is a mapping from variables"),
        (("model.yaml",), {}, "a mapping from variables, a data frame, or an array of numbers; got 'model.yaml'"),
        ((pd.DataFrame([["cat", "dog"]], columns=["label", "label"]),), {}, "two columns of one name"),
        (
            (np.zeros((2, 2, 2), dtype=int),),
            {"evidence": {"label": ["cat"] * 3}},
            "a batch of 3, but the array has one of 2",
        ),
        ((np.array([[[1j, 0], [0, 0]]]),), {}, "must be an array of states or real numbers; got complex128"),
    ],
)
def test_what_cannot_be_read_is_told(grid, args, options, message):
    with pytest.raises(hgm.BadEvidence, match=message):
        hgm.infer(grid, *args, **options)


def test_a_leaf_that_is_missing_in_the_array_may_be_given_by_name(grid):
    x = torch.tensor([[[0, -1], [1, 2]]])
    got = hgm.infer(grid, x, evidence={"x0_1": {0: 0.2, 2: 0.5}})
    want = hgm.infer(grid, {"x0_0": 0, "x0_1": {0: 0.2, 2: 0.5}, "x1_0": 1, "x1_1": 2})
    torch.testing.assert_close(got.marginals[0], want.marginals)
    torch.testing.assert_close(got.log_partition[0], want.log_partition)


def test_the_first_argument_is_the_tree():
    for read in (hgm.infer, hgm.log_evidence, hgm.fit):
        with pytest.raises(hgm.BadSpec, match=r"tree must be a Tree; got 'model.yaml'; hgm.load"):
            read("model.yaml", {"a": 1})
