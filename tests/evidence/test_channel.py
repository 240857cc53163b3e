"""The base of channels: the layout of log evidence in memory, the registry, and what files say of a channel."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

import hgm
from hgm.errors import BadEvidence, BadSpec
from hgm.evidence.channel import CHANNELS, Channel, channel_of

S, N, B = 5, 24, 6
VECTORS = np.random.default_rng(0).normal(size=(S, 2))
COPIES = {"clone", "copy_", "_to_copy", "index_select", "index", "cat", "contiguous", "gather", "stack"}


def symbols():
    return torch.randint(-1, S, (B, 4, N // 4), generator=torch.Generator().manual_seed(0))


def floats(*components):
    return torch.randn(B, *components, 4, N // 4, generator=torch.Generator().manual_seed(1))


def holes(z):
    return z.masked_fill(z > 1, torch.nan)


KEEP = floats() > -0.5
CALLS = {  # channel, its arguments, how many copies as large as its log evidence it may make
    "soft": (hgm.Soft(states=S), (floats(S),), 1),
    "soft symbols": (hgm.Soft(states=S), (symbols(),), 0),
    "clamp": (hgm.Clamp(states=S), (symbols(),), 0),
    "erasure": (hgm.Erasure(states=S), (symbols(), KEEP), 0),
    "flip": (hgm.Flip(states=S), (symbols(), torch.linspace(0, 1, B)), 0),
    "gaussian": (hgm.Gaussian(states=S), (floats(), torch.linspace(0.1, 1, B), 0.9), 0),
    "gaussian vectors": (hgm.Gaussian(VECTORS), (floats(2), 0.5, torch.linspace(0.1, 1, B)), 0),
    "missing": (hgm.Missing(hgm.Gaussian(VECTORS)), (holes(floats(2)), torch.linspace(0.1, 1, B)), 0),
    "missing soft": (hgm.Missing(hgm.Soft(states=S)), (holes(floats(S)),), 1),
}
EACH = pytest.mark.parametrize("name", CALLS)


class Copies(TorchDispatchMode):
    """Counts the operations that only move at least `size` numbers."""

    def __init__(self, size):
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.count += isinstance(out, torch.Tensor) and name in COPIES and out.numel() >= self.size
        return out


@EACH
def test_log_evidence_is_made_states_first_without_copies(name):
    channel, given, most = CALLS[name]
    with Copies(S * N * B) as copies:
        e = channel.states_first(*given)
    assert e.shape == (S, N, B) and e.is_contiguous()
    assert copies.count <= most


def test_the_count_of_copies_sees_one():
    with Copies(S * N * B) as copies:
        hgm.Gaussian(states=S).states_first(floats(), 0.5).transpose(0, 1).contiguous()
        torch.ones(S * N * B - 1).clone()
    assert copies.count == 1


@EACH
def test_it_is_seen_from_outside_without_a_copy(name):
    channel, given, _ = CALLS[name]
    with Copies(1) as inner:
        first = channel.states_first(*given)
    with Copies(1) as outer:
        e = channel(*given)
    assert outer.count == inner.count
    assert channel.positions(given[0]) == (4, N // 4) and e.shape == (B, S, 4, N // 4)
    assert torch.equal(e.flatten(2), first.permute(2, 0, 1))


@EACH
def test_positions_in_another_order_give_the_log_evidence_in_that_order(name):
    channel, given, _ = CALLS[name]
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    moved = channel.rearranged(order, *given)
    assert (moved is None) == (name in ("soft", "missing soft")), (
        "evidence given as such is put in order once it is states first"
    )
    if moved is None:
        return
    with Copies(S * N * B) as copies:
        e = channel.states_first(*moved)
    assert torch.equal(e, channel.states_first(*given)[:, order])
    assert copies.count == 0, "the observation lies in memory as the log evidence will"


@EACH
def test_a_batch_of_nothing_gives_nothing(name):
    channel, given, _ = CALLS[name]
    none = [x[:0] if isinstance(x, torch.Tensor) else x for x in given]
    assert channel(*none).shape == (0, S, 4, N // 4)
    moved = channel.rearranged(torch.arange(N), *none)
    assert moved is None or moved[0].shape[-1] == N


# ---------------------------------------------------------------------- observing


def drawn(channel, x, *noise):
    return channel.observe(x, *noise, generator=torch.Generator().manual_seed(3))


def test_flips_are_as_often_as_said_and_uniform_over_the_others():
    x = torch.full((2, 40000), 2)
    z = drawn(hgm.Flip(states=4), x, torch.tensor([0.0, 0.6]))
    assert torch.equal(z[0], x[0])
    np.testing.assert_allclose(torch.bincount(z[1], minlength=4) / 40000, [0.2, 0.2, 0.4, 0.2], atol=0.01)
    assert torch.equal(drawn(hgm.Flip(states=4), torch.tensor([[-1]]), 1.0), torch.tensor([[-1]]))
    assert torch.equal(drawn(hgm.Flip(states=1), torch.tensor([[0]]), 1.0), torch.tensor([[0]]))


@pytest.mark.parametrize("values", [np.array([-2.0, 0.5, 7.0]), np.array([[0.0, 1.0], [5.0, -5.0], [2.0, 2.0]])])
def test_gaussian_observations_are_values_and_noise(values):
    x = torch.tensor([0, 1, 2, -1]).repeat(2, 10000)
    sigma = torch.tensor([0.1, 2.0], dtype=torch.float64)
    z = drawn(hgm.Gaussian(values), x, sigma, 0.5)
    assert z.dtype == torch.float64 and bool(z[..., 3::4].isnan().all())
    mean = 0.5 * torch.from_numpy(values)[x[:, :3]]
    mean = mean if values.ndim == 1 else mean.movedim(-1, 1)
    for row in range(2):
        residual = (z[row].unflatten(-1, (-1, 4))[..., :3] - mean[row].unsqueeze(-2)) / sigma[row]
        assert stats.kstest(residual.flatten().numpy(), "norm").pvalue > 1e-3


def test_erasure_erases_what_the_mask_says():
    x, keep = torch.tensor([[0, 1, 2]]), torch.tensor([[True, False, True]])
    assert drawn(hgm.Erasure(states=3), x, keep).tolist() == [[0, -1, 2]]
    assert torch.equal(drawn(hgm.Clamp(states=3), x), x)


def test_soft_evidence_of_a_symbol_is_its_own_likelihood_ratio():
    """E[exp(e(a) - e(b)) | b] = 1, as holds of p(z | a) / p(z | b), and of no other scale."""
    e = drawn(hgm.Soft(states=3), torch.full((1, 400000), 1))[0].double()
    assert abs(float((e[0] - e[1]).exp().mean()) - 1) < 0.05
    assert abs(float(e[1].mean()) - 1) < 0.01 and abs(float(e[[0, 2]].mean())) < 0.01


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_example_is_what_the_channel_takes(name, dtype):
    channel = CALLS[name][0]
    x = symbols().clamp_min(0)
    z, *noise = channel.example(x, dtype, torch.Generator().manual_seed(4))
    assert len(noise) == len(channel.noise_names) and all(n.shape == (B,) and n.dtype == dtype for n in noise)
    assert z.dtype == (dtype if z.is_floating_point() else torch.int64)
    likelihood = channel(z, *noise).gather(1, x.unsqueeze(1))
    assert bool(likelihood.isfinite().all()), "what was drawn is possible"


# ---------------------------------------------------------------------- names and files


def test_the_channels_of_the_library_are_registered_by_name():
    assert {name: CHANNELS[name] for name in ("soft", "clamp", "erasure", "flip", "gaussian", "missing")} == {
        "soft": hgm.Soft,
        "clamp": hgm.Clamp,
        "erasure": hgm.Erasure,
        "flip": hgm.Flip,
        "gaussian": hgm.Gaussian,
        "missing": hgm.Missing,
    }


def test_a_name_is_taken_once():
    with pytest.raises(BadSpec, match=r"Other cannot be the channel named 'flip': that is .*channels\.Flip"):

        class Other(Channel, name="flip"):
            pass

    assert CHANNELS["flip"] is hgm.Flip


def test_a_cell_that_is_run_again_replaces_its_channel():
    def cell():
        class Again(Channel, name="again"):
            pass

        return Again

    try:
        first, second = cell(), cell()
        assert CHANNELS["again"] is second is not first
    finally:
        del CHANNELS["again"]


@EACH
def test_a_channel_comes_back_from_its_entry(name):
    channel, given, _ = CALLS[name]
    again = channel_of(channel.entry(), channel.values)
    assert type(again) is type(channel)
    again.load_state_dict(channel.state_dict())
    assert torch.equal(again(*given), channel(*given))


def test_settings_are_in_the_entry_of_a_channel_that_has_them():
    class Blurred(Channel, name="blurred"):
        def __init__(self, values=None, width=1.0):
            super().__init__(values)
            self.width = width

        def entry(self):
            return super().entry() | {"width": self.width}

    try:
        entry = hgm.Missing(Blurred([0, 1], 2.5)).entry()
        assert entry == {"kind": "missing", "of": {"kind": "blurred", "width": 2.5}}
        assert channel_of(entry, torch.tensor([0.0, 1.0])).channel.width == 2.5
        with pytest.raises(BadSpec, match=r"blurred cannot be made from .*depth"):
            channel_of({"kind": "blurred", "depth": 1}, None)
    finally:
        del CHANNELS["blurred"]


def test_what_cannot_be_in_a_file_is_refused():
    class Nameless(hgm.Flip):
        pass

    with pytest.raises(BadSpec, match=r"Nameless has no name.*class Nameless\(Channel, name="):
        Nameless().entry()
    with pytest.raises(BadSpec, match=r"no channel is named 'fog', only soft.*import"):
        channel_of({"kind": "fog"}, None)
    with pytest.raises(BadSpec, match="which channel it is around"):
        channel_of({"kind": "missing"}, None)


def test_an_unfinished_channel_says_what_it_lacks():
    class Half(Channel):
        pass

    half = Half(states=2)
    for call, lacks in (
        (lambda: half(torch.zeros(1, 2)), "states_first"),
        (lambda: half.observe(torch.zeros(1, 2), generator=torch.Generator()), "observe"),
    ):
        with pytest.raises(NotImplementedError, match=f"Half .*{lacks}"):
            call()
    assert half.rearranged(torch.arange(2), torch.zeros(1, 2)) is None


@pytest.mark.parametrize("channel", [hgm.Clamp(states=2), hgm.Gaussian(states=2), hgm.Soft(states=2)])
def test_one_number_is_no_observation(channel):
    with pytest.raises(BadEvidence, match=r"batch|shape \(B, S"):
        channel(torch.tensor(1.0 if isinstance(channel, hgm.Soft) else 1), *([0.5] * len(channel.noise_names)))
