"""A channel defined outside the package: Poisson counts."""

import pytest
import torch
from typer.testing import CliRunner

import hgm
from hgm.cli import app
from hgm.evidence.channel import Channel
from hgm.testing import ChannelConformance


class Poisson(Channel, name="poisson"):
    """Counts of mean gain * value(x): log p(z | x = a) = z log(gain * value(a)) - gain * value(a) + c."""

    pointwise = True

    def __init__(self, values=None, states=None, gain=1.0):
        super().__init__(values, states)
        self.gain = gain

    def states_first(self, z, *noise):
        rate = self.gain * self.table()[:, None, None]
        return self.batch_last(z) * rate.log() - rate

    def observe(self, x, *noise, generator):
        return torch.poisson(self.gain * self.table()[x], generator=generator)

    def entry(self):
        return super().entry() | {"gain": self.gain}


class TestPoisson(ChannelConformance):
    def make_channel(self):
        return Poisson([1.0, 2.0, 5.0], gain=1.5)

    def log_likelihood(self, channel, z, *noise):
        return torch.distributions.Poisson(1.5 * channel.values).log_prob(z.unsqueeze(-1)).movedim(-1, 1)


class TestPoissonWithHoles(ChannelConformance):
    def make_channel(self):
        return hgm.Missing(Poisson([1.0, 2.0, 5.0], gain=0.5))


@pytest.mark.parametrize("ending", [".safetensors", ".pt2"])
def test_the_command_line_compiles_with_it(tmp_path, ending):
    tree = hgm.random_ghm(2, 3, seed=0)
    hgm.save(tree, tmp_path / "tree.yaml")
    out = tmp_path / f"net{ending}"
    command = ["compile", tmp_path / "tree.yaml", "--task", "denoise", "--channel", "poisson", "--values", "1,2,5"]
    result = CliRunner().invoke(app, [*map(str, command), "-o", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert out.is_file()
    if ending == ".safetensors":
        z = torch.tensor([[0.0, 3.0, 1.0, 7.0]], dtype=torch.float64)
        want = hgm.compile(tree, "denoise", channel=Poisson([1.0, 2.0, 5.0]))(z)
        assert torch.equal(hgm.load_network(out)(z), want)
