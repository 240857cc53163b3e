"""The errors: they come out of another process as they were raised, and say which name may have been meant."""

import copy
import multiprocessing
import pickle

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import hgm
from hgm import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.HgmError)]
RAISED = [kind([7, 2**40], "(there)") if kind is hgm.ImpossibleEvidence else kind("what is wrong") for kind in KINDS]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_is_the_error_with_all_that_it_says(error, copied):
    error.add_note("a note")
    twin = copied(error)
    assert type(twin) is type(error) and str(twin) == str(error) and vars(twin) == vars(error)
    assert "what is wrong" in str(twin) or twin.rows == (7, 2**40)


def _impossible(_):
    hgm.infer(hgm.chain(3, 2), torch.tensor([0.0, -torch.inf])[:, None, None].expand(2, 2, 3).double())


@pytest.mark.long
def test_an_error_comes_out_of_a_worker_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(hgm.ImpossibleEvidence) as caught:
        pool.map_async(_impossible, [0]).get(timeout=120)
    assert caught.value.rows == (1,) and "in batch rows 1" in str(caught.value)


class _Rows(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, i):
        return _impossible(i)


@pytest.mark.long
def test_an_error_comes_out_of_a_dataloader():
    with pytest.raises(hgm.ImpossibleEvidence, match=r"(?s)Caught ImpossibleEvidence in .* in batch rows 1"):
        next(iter(DataLoader(_Rows(), num_workers=1, multiprocessing_context="spawn")))


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("wether", "; did you mean 'weather'?"),
        ("WEATHER", "; did you mean 'weather'?"),
        ("11", "; did you mean 11?"),
        (("a", 2), "; did you mean ('a', 1)?"),
        ("sprinkler", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_close_name_is_asked_about(name, end):
    assert errors.did_you_mean(name, ["weather", 11, ("a", 1), ""]) == end or name == ""


def test_of_very_many_names_the_first_are_looked_at():
    many = (f"x{i}" for i in range(10**12))
    assert errors.did_you_mean("y12345", many).startswith("; did you mean 'x")
