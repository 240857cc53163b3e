"""As many threads as a network can use, and then as many as before."""

import pytest
import torch

import hgm


@pytest.fixture(autouse=True)
def four():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("rows", "want"), [(0, 1), (1, 1), (511, 1), (512, 1), (1023, 1), (1024, 2), (1536, 3), (2048, 4), (10**6, 4)]
)
def test_a_thread_has_a_piece_of_a_level_to_work_on(rows, want):
    net = hgm.compile(hgm.random_ghm(4, 4, 2, seed=0))  # rows of 64 numbers, 512 in a piece
    with hgm.threads(net, rows) as used:
        assert used == torch.get_num_threads() == want
    assert torch.get_num_threads() == 4


def test_the_number_is_never_raised_and_given_back_after_an_error():
    net = hgm.compile(hgm.random_ghm(4, 4, 2, seed=0))
    torch.set_num_threads(2)
    with hgm.threads(net, 10**6) as used:
        assert used == 2
        with pytest.raises(RuntimeError), hgm.threads(net, 1):
            raise RuntimeError
        assert torch.get_num_threads() == 2


def test_no_network_and_no_forward_changes_it():
    hgm.compile(hgm.random_ghm(4, 4, 2, seed=0))(torch.zeros(2, 4, 16))
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("wrong", [(None, 1), (torch.nn.Linear(1, 1), 1), ("net", 1)])
def test_what_is_no_network_is_an_error(wrong):
    with pytest.raises(hgm.BadSpec, match="network must be"), hgm.threads(*wrong):
        pass
    with pytest.raises(hgm.BadSpec, match="rows must be"), hgm.threads(hgm.compile(hgm.star(3, 2, seed=0)), 1.5):
        pass
