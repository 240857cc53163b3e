"""A battery of tests that a new observation channel inherits by saying how to make it.

    class TestPoisson(hgm.testing.ChannelConformance):
        def make_channel(self):
            return Poisson([1.0, 2.0, 5.0])

        def log_likelihood(self, channel, z, *noise):    # may be left out
            return torch.distributions.Poisson(channel.values).log_prob(z.unsqueeze(-1)).movedim(-1, 1)

Without pytest, ``TestPoisson().run()`` does the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Missing
from hgm.files.network import load_network, save_network
from hgm.files.program import export
from hgm.networks.compile import compile
from hgm.testing.battery import Battery, assert_close
from hgm.tree.tree import Tree
from hgm.zoo.layered import random_ghm

__all__ = ["ChannelConformance"]


class ChannelConformance(Battery):
    """What every observation channel must fulfil. Subclass it, and supply `make_channel`.

    Attributes:
        positions: the shapes of positions that are tried.
        batch: B.
        draws: how many observations the posterior's calibration is judged by.
        tolerance: of results in float64, relative.
        tolerance32: of posteriors in float32, which symbols give.
    """

    positions: Sequence[tuple[int, ...]] = ((), (5,), (2, 3))
    batch: int = 4
    draws: int = 20_000
    tolerance: float = 1e-12
    tolerance32: float = 1e-6

    # ------------------------------------------------------------------ to supply

    def make_channel(self) -> Channel:
        """The channel, with values."""
        raise NotImplementedError("supply make_channel(): the channel that is tested, with values")

    def make_observation(self, channel: Channel, x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """An observation of symbols ``(B, *positions)``, drawn from the channel, and the noise ``(B,)``, in float64."""
        return channel.example(x, torch.float64, generator)

    def log_likelihood(self, channel: Channel, z: Tensor, *noise: Tensor) -> Tensor | None:
        """log p(z | x = a) ``(B, S, *positions)`` by other means, up to a constant at each position."""
        return None

    # ------------------------------------------------------------------ the battery

    def test_log_evidence_is_states_first_in_memory(self) -> None:
        """``(S, n, B)``, contiguous, and what `forward` gives is the same seen from outside."""
        for channel, x, given in self._cases():
            first, e = channel.states_first(*given), channel(*given)
            want = (channel.states, x[0].numel(), len(x))
            if tuple(first.shape) != want or not first.is_contiguous():
                raise AssertionError(
                    f"states_first must be contiguous, of shape {want}; got {tuple(first.shape)}, {first.stride()}"
                )
            if tuple(channel.positions(given[0])) != tuple(x.shape[1:]):
                raise AssertionError(f"positions: {channel.positions(given[0])} instead of {tuple(x.shape[1:])}")
            if tuple(e.shape) != (len(x), channel.states, *x.shape[1:]) or not e.movedim(0, -1).is_contiguous():
                raise AssertionError(f"forward must be a view of states_first; got {tuple(e.shape)}, {e.stride()}")
            assert_close(e.movedim(0, -1).reshape(want), first, 0.0, "forward")

    def test_log_evidence_is_the_log_likelihood(self) -> None:
        """Up to a constant at each position, if `log_likelihood` knows it."""
        for channel, _, given in self._cases():
            want = self.log_likelihood(channel, *given)
            if want is not None:
                e = channel(*given).double()
                assert_close(e.log_softmax(1), want.double().log_softmax(1), self.tolerance, "log evidence")

    def test_the_posterior_is_calibrated(self) -> None:
        """Of x uniform, E[[x = a] p(a | z)] = E[p(a | z)^2]: `observe` draws what `states_first` says."""
        channel = self.make_channel()
        x, given = self._observed(channel, (1,), self.draws)
        p = channel(*given)[..., 0].double().softmax(1)
        gap = p * (torch.nn.functional.one_hot(x[:, 0], p.shape[1]) - p)
        sigmas = gap.mean(0).abs() / (gap.std(0) / self.draws**0.5).clamp_min(1e-9)
        if not bool((sigmas < 5).all()):
            raise AssertionError(f"the posterior is off by {sigmas.tolist()} standard errors, state by state")

    def test_what_was_drawn_is_possible(self) -> None:
        """The log evidence of the symbols that an observation was drawn from is finite, and no other is NaN or +inf."""
        for channel, x, given in self._cases():
            e = channel(*given)
            if not bool((e < torch.inf).all()) or not bool(e.gather(1, x.unsqueeze(1)).isfinite().all()):
                raise AssertionError("log evidence is a number or -inf, and a number at what was drawn")

    def test_rows_of_a_batch_do_not_touch_each_other(self) -> None:
        """Each row alone gives what it gives in the batch, and no row gives no row."""
        for channel, x, given in self._cases():
            together = channel(*given)
            for row in range(len(x)):
                assert_close(channel(*_rows(given, row, row + 1))[0], together[row], self.tolerance, f"row {row}")
            assert_close(channel(*_rows(given, 0, 0)), together[:0], 0.0, "an empty batch")

    def test_positions_can_be_put_in_order_before_or_after(self) -> None:
        """`rearranged` gives the same log evidence as putting that in order, or is ``None``."""
        for channel, x, given in self._cases():
            order = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(1))
            moved = channel.rearranged(order, *given)
            if moved is not None:
                want = channel.states_first(*given)[:, order]
                assert_close(channel.states_first(*moved), want, self.tolerance, "log evidence in another order")

    def test_holes_say_nothing(self) -> None:
        """Around floats, `hgm.Missing` gives 0 where the observation is NaN, and elsewhere what there is without it."""
        for channel, x, (z, *noise) in self._cases():
            if not z.is_floating_point():
                continue
            hole = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.5
            seen = hole.view(len(x), *(1,) * (z.ndim - x.ndim), *x.shape[1:])
            got = Missing(channel)(z.masked_fill(seen, torch.nan), *noise)
            assert_close(got, channel(z, *noise).masked_fill(hole.unsqueeze(1), 0.0), self.tolerance, "with holes")

    def test_a_network_with_it_is_the_reference_on_its_log_evidence(self) -> None:
        """The posteriors of a U-Net, in the precision of the log evidence."""
        channel, tree, given = self._compiled()
        e = channel(*given)
        tolerance = self.tolerance if e.dtype == torch.float64 else self.tolerance32
        want = infer(tree, e).marginals[:, :, torch.from_numpy(tree.leaves)]
        got = compile(tree, "posterior", query="leaves", channel=channel)(*given)
        assert_close(got, want, tolerance, "posteriors")

    def test_a_network_with_it_is_saved_and_loaded(self) -> None:
        """With its values and settings."""
        channel, tree, given = self._compiled()
        network = compile(tree, "denoise", channel=channel)
        with TemporaryDirectory() as folder:
            save_network(network, Path(folder) / "net.safetensors")
            again = load_network(Path(folder) / "net.safetensors")
        if type(again.channel) is not type(channel):
            raise AssertionError(f"the channel came back as {type(again.channel).__name__}")
        assert_close(again(*given), network(*given), 0.0, "the loaded network")

    def test_a_network_with_it_exports(self) -> None:
        """To a .pt2 file, which is run and held against the network before it is written."""
        channel, tree, _ = self._compiled()
        with TemporaryDirectory() as folder:
            export(compile(tree, "denoise", channel=channel), Path(folder) / "net.pt2", dtype=torch.float64)

    # ------------------------------------------------------------------ helpers

    def _observed(self, channel: Channel, positions: tuple[int, ...], batch: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Symbols, and an observation of them with its noise."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(len(channel.table()), (batch, *positions), generator=generator)
        return x, self.make_observation(channel, x, generator)

    def _cases(self) -> Iterator[tuple[Channel, Tensor, tuple[Tensor, ...]]]:
        for positions in self.positions:
            channel = self.make_channel()
            yield channel, *self._observed(channel, positions, self.batch)

    def _compiled(self) -> tuple[Channel, Tree, tuple[Tensor, ...]]:
        """The channel, a tree whose leaves have its states, and an observation of them."""
        channel = self.make_channel()
        tree = random_ghm(2, len(channel.table()), seed=0)
        return channel, tree, self._observed(channel, (len(tree.leaves),), self.batch)[1]


def _rows(given: Sequence[Tensor], start: int, stop: int) -> list[Tensor]:
    return [x[start:stop] for x in given]
