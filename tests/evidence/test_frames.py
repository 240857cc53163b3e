"""Tables with names: the names decide where something belongs; what has no place for names refuses them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.masked import masked_tensor

import hgm

EVIDENCE = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.4]])  # rows, and states red, green, blue


@pytest.fixture
def tree() -> hgm.Tree:
    factors = [("h", "a", [[0.8, 0.2], [0.3, 0.7]]), ("h", "b", [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])]
    return hgm.Tree.from_edges(factors, variables={"b": ["red", "green", "blue"], "h": 2, "a": 2})


def test_columns_of_booleans_are_the_states_that_each_row_allows(tree):
    colours = pd.Series(["green", "red", "blue", "green"])
    want = hgm.infer(tree, {"b": colours}).marginals
    assert torch.equal(hgm.infer(tree, {"b": pd.get_dummies(colours)}).marginals, want)
    assert torch.equal(hgm.infer(tree, {"b": pd.get_dummies(colours, dtype=int)}).marginals, want)


@pytest.mark.parametrize(
    "named",
    [
        pd.DataFrame(EVIDENCE[:, ::-1], columns=["blue", "green", "red"]),
        pd.Series([0.3, 0.5, 0.2], index=["blue", "green", "red"]),
        pd.Series([0.3, 0.5, 0.2], index=[2, 1, 0]),
    ],
)
def test_a_likelihood_by_position_is_not_made_of_a_table_with_names(tree, named):
    for make in (hgm.Likelihood, hgm.Likelihood.log):
        with pytest.raises(hgm.BadEvidence, match=r"has names of its own: ('blue'|2)"):
            make(named)
    counted = pd.DataFrame(EVIDENCE), pd.Series(EVIDENCE[0])
    for given in counted:
        assert torch.equal(hgm.Likelihood(given).values, torch.tensor(given.to_numpy()))


def test_a_network_does_not_take_named_columns_for_its_leaves_in_order(tree):
    net = hgm.compile(tree, "posterior", observed=["h"])
    frame = pd.DataFrame({"b": [1, 0], "a": [0, 1]})
    with pytest.raises(hgm.BadEvidence, match="names of its own: 'b', 'a'; give it by name"):
        net(frame)
    with pytest.raises(hgm.BadEvidence, match="names of its own: 'h'"):
        net(torch.tensor([[0, 1], [1, 0]]), evidence=pd.DataFrame({"h": [0, 1]}))
    assert torch.equal(net(pd.DataFrame([[1, 0], [0, 1]])), net([[1, 0], [0, 1]]))


@pytest.mark.parametrize(
    "values",
    [
        np.ma.array([0.0, 1.0, 2.0], mask=[0, 1, 0]),
        np.array([0.0, 1.0j, 2.0]),
        torch.tensor([0.0, 1.0j, 2.0]),
        torch.eye(3).to_sparse(),
        pd.Series([2.0, 1.0, 0.0], index=["blue", "green", "red"]),
        pd.DataFrame({"y": [0.0, 1.0, 2.0], "x": [0.0, 1.0, 2.0]}),
        {"red": 0.0, "green": 1.0, "blue": 2.0},
    ],
)
def test_values_of_a_channel_lose_no_mask_name_or_imaginary_part(values):
    with pytest.raises(hgm.BadEvidence, match="the values of a channel"):
        hgm.Gaussian(values)


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
def test_log_potentials_and_observations_lose_no_mask_or_imaginary_part(tree):
    mask = np.ma.array(np.zeros((2, 2)), mask=np.eye(2))
    with pytest.raises(hgm.BadPotential, match=r"the log potential .* is masked"):
        hgm.log_partition(tree, {"a": 1}, log_potentials={("h", "a"): mask})
    net = hgm.compile(tree, "posterior")
    z = torch.tensor([[0, 1]])
    for odd in (masked_tensor(z, z == 0), z.to_sparse(), torch.zeros(1, 3, 2, dtype=torch.complex64)):
        for read in (net, hgm.Likelihood):
            with pytest.raises(hgm.BadEvidence, match=r"must be an array of (real )?numbers; got a"):
                read(odd)


def test_columns_that_name_their_rows_differently_are_not_read_by_position():
    tree = hgm.Tree.from_edges([("a", "b", np.ones((2, 2)))])
    a, b = pd.Series([0, 1], index=["p", "q"]), pd.Series([0, 1], index=["q", "p"])
    with pytest.raises(hgm.BadEvidence, match="the columns of 'a' and 'b' name their rows differently"):
        hgm.infer(tree, {"a": a, "b": b})
    want = hgm.infer(tree, {"a": [0, 1], "b": [1, 0]}).log_partition
    for given in (pd.DataFrame({"a": a, "b": b}), {"a": a, "b": b[a.index]}, {"a": a, "b": [1, 0]}):
        assert torch.equal(hgm.infer(tree, given).log_partition, want)
