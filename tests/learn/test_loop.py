"""`hgm.train`: towards the optimum, the same every time, and whole again after an interruption."""

import copy
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from math import cos, isnan, log, nan, pi

import numpy as np
import pytest
import torch
from torch import nn

import hgm
import hgm.diffusion
from hgm.learn.levels import checked_levels
from hgm.learn.state import learning_rate

TREE = hgm.random_ghm(2, 2, 2, seed=1)  # 4 leaves of two states
GAUSSIAN = hgm.Gaussian([-1.0, 1.0])


class Small(nn.Module):
    """z and log sigma to means: one hidden layer."""

    def __init__(self, leaves=4, width=32, seed=0, drop=0.0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Linear(leaves + 1, width), nn.Tanh(), nn.Dropout(drop), nn.Linear(width, leaves)
            )

    def forward(self, z, sigma):
        scaled = z / (1 + sigma.square()).sqrt()[:, None]
        return self.layers(torch.cat([scaled, sigma.log()[:, None]], 1))


class Linear(nn.Module):
    """W z + b."""

    def __init__(self, leaves):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.zeros(leaves, leaves)), nn.Parameter(torch.zeros(leaves))

    def forward(self, z, sigma):
        return z @ self.w.t() + self.b


class Classes(nn.Module):
    """Probabilities of the label, of clean or erased symbols."""

    def __init__(self, leaves=4, classes=2, states=2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(leaves * states, 32), nn.Tanh(), nn.Linear(32, classes))
        self.states = states

    def forward(self, z, *noise):
        seen = torch.stack([z == s for s in range(self.states)], -1).float()
        return self.layers(seen.flatten(1)).softmax(1)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def trained(network=None, data=TREE, **options):
    """A network and its training, quickly."""
    network = Small() if network is None else network
    given = dict(channel=GAUSSIAN, steps=40, batch_size=16, every=10, learning_rate=1e-2, progress=False) | options
    return network, hgm.train(network, data, **given)


def same_rows(one, other):
    for a, b in zip(one.history, other.history, strict=True):
        assert a[:2] == b[:2] and a.learning_rate == b.learning_rate
        assert a.validation == b.validation or (isnan(a.validation) and isnan(b.validation))


def clean(tree, n, seed):
    return hgm.infer(tree).sample(n, generator=torch.Generator().manual_seed(seed))


def excess(network, sigma=0.7, n=4000):
    """E |f - D|^2 per leaf against the exact denoiser, at one level of noise."""
    g = torch.Generator().manual_seed(99)
    z = GAUSSIAN.observe(clean(TREE, n, 98).leaves, sigma, generator=g).float()
    exact = hgm.diffusion.Denoiser(TREE, GAUSSIAN)
    with torch.no_grad():
        return float((network(z, torch.full((n,), sigma)) - exact(z, sigma)).square().mean())


# ---------------------------------------------------------------------- towards the optimum


@pytest.mark.long
def test_training_lowers_the_excess_risk_towards_zero():
    network = Small()
    before = excess(network)
    trained(network, noise=(0.3, 1.5), steps=600, batch_size=128)
    assert excess(network) < 0.02 * before


def test_a_compiled_network_with_free_weights_learns_the_tree():
    network = hgm.compile(hgm.random_ghm(2, 2, 2, seed=5), channel=GAUSSIAN, task="denoise", trainable=True)
    before = excess(network)
    result = hgm.train(network, TREE, noise=(0.3, 1.5), steps=300, batch_size=128, learning_rate=0.05, progress=False)
    assert result.network is network and excess(network) < 0.05 * before


def test_a_linear_network_reaches_the_wiener_filter():
    sigma = 0.8
    every = clean(TREE, 200_000, 1).leaves.double() * 2 - 1
    mean, covariance = every.mean(0), torch.cov(every.t())
    gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(4, dtype=torch.float64))
    network = Linear(4).double()
    trained(network, noise=sigma, steps=1500, batch_size=256, learning_rate=0.03, validation=0)
    assert torch.allclose(network.w.detach(), gain, atol=0.02)
    assert torch.allclose(network.b.detach(), mean - gain @ mean, atol=0.02)


@pytest.mark.long
def test_a_fixed_sample_is_learned_by_heart_and_fresh_data_are_not():
    sigma, options = 0.5, dict(noise=0.5, steps=1500, batch_size=64, learning_rate=1e-2, every=500)
    z = GAUSSIAN.observe(clean(TREE, 20_000, 5).leaves, sigma, generator=torch.Generator().manual_seed(6)).double()
    exact = hgm.infer(TREE, z, sigma, channel=GAUSSIAN)
    p = exact.marginals[..., torch.from_numpy(TREE.leaves)]
    optimum = float((4 * p[:, 0] * p[:, 1]).mean())  # E Var(x | z) of values -1 and 1
    _, erm = trained(Small(width=64), n=6, **options)
    _, fresh = trained(Small(width=64), **options)
    assert erm.history[-1].loss < 0.8 * optimum < optimum < erm.history[-1].validation
    assert fresh.history[-1].loss > 0.95 * optimum
    assert abs(fresh.history[-1].validation / optimum - 1) < 0.15


def test_n_rows_of_a_tree_and_the_same_rows_as_data_are_one_estimator():
    from hgm.learn.rows import drawn

    x, _ = drawn(TREE, 0, 12, 0, "sample")
    one, _ = trained(n=12, validation=0)
    other, _ = trained(data=x.numpy())
    assert torch.equal(weights(one), weights(other))


@pytest.mark.long
def test_the_classifier_of_a_user_reaches_the_cross_entropy_of_the_exact_one():
    _, result = trained(Classes(), task="classify", channel=hgm.Clamp(), steps=600, batch_size=128, validation=20_000)
    sample = clean(TREE, 20_000, 3)
    p = hgm.compile(TREE, "classify")(sample.leaves)
    optimum = float(-p.double().log().gather(1, sample.states[:, :1]).mean())
    assert abs(result.history[-1].validation - optimum) < 0.03 < result.history[0].loss


@pytest.mark.long
def test_posteriors_of_erased_symbols_reach_the_cross_entropy_of_the_exact_ones():
    class Posteriors(Small):
        def forward(self, z, t):
            assert z.dtype == torch.int64 and t.shape == (len(z),) and bool(z.min() == -1)
            on = super().forward((z == 1).float() - (z == 0).float(), t.clamp_min(1e-3))
            return torch.stack([torch.zeros_like(on), on], 1).softmax(1)

    options = dict(task="posterior", channel=hgm.Erasure(), noise=(0.4, 0.6), batch_size=128, validation=8000)
    _, result = trained(Posteriors(), steps=600, **options)
    compiled = hgm.compile(TREE, "posterior", channel=hgm.Erasure(), trainable=True)
    _, exact = trained(compiled, steps=1, **(options | dict(learning_rate=1e-12)))
    assert abs(result.history[-1].validation - exact.history[-1].validation) < 0.01


@pytest.mark.parametrize("task", ["posterior", "classify"])
@pytest.mark.parametrize("channel", [hgm.Erasure(), hgm.Flip()], ids=["erasure", "flip"])
def test_a_network_to_compare_with_of_symbols_is_trained(channel, task):
    network = hgm.baselines.make("cnn_3", TREE, channel, task=task, parameters=1000)
    before = hgm.compare(network, TREE, channel=channel, noise=0.3, n=50, task=task).rows()[0]["excess"]
    trained(network=network, channel=channel, task=task, steps=60)
    assert hgm.compare(network, TREE, channel=channel, noise=0.3, n=50, task=task).rows()[0]["excess"] < before


@pytest.mark.long
def test_a_model_of_diffusers_is_trained():
    from diffusers import DDPMScheduler, UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = UNet2DModel(
            sample_size=4, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=2,
            add_attention=False, block_out_channels=(4, 4), down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
        )  # fmt: skip
    network = hgm.diffusion.from_diffusers(model, DDPMScheduler(clip_sample=False), GAUSSIAN)
    result = hgm.train(network, hgm.random_ghm(2, 2, (2, 2), seed=0), steps=10, every=5, progress=False)
    assert result.history[-1].loss < result.history[0].loss


def test_values_of_ones_own_and_vectors():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    _, result = trained(data=x, channel=None, validation=10)
    assert len(result.history) == 4 and not isnan(result.history[-1].validation)

    class Vectors(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.0))

        def forward(self, z, sigma):
            assert z.shape[1:] == (3, 4)
            return self.scale * z

    vectors = hgm.Gaussian([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    ones = torch.ones(6, 4, dtype=torch.long)
    _, result = trained(Vectors(), ones, channel=vectors, noise=1.0, learning_rate=1e-30)
    assert result.history[-1].loss == pytest.approx(14)  # a sum over components, a mean over leaves


# ---------------------------------------------------------------------- the recipe


def test_the_learning_rate_rises_linearly_and_falls_by_half_a_cosine():
    _, result = trained(steps=40, warmup=10, every=1, learning_rate=0.5)
    rates = [row.learning_rate for row in result.history]
    want = [0.5 * (t + 1) / 10 for t in range(10)] + [0.25 * (1 + cos(pi * (t - 10) / 30)) for t in range(10, 40)]
    assert np.allclose(rates, want, rtol=1e-12)
    assert [learning_rate(t, 4, 4, 1.0) for t in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert learning_rate(0, 1, 0, 1.0) == 1.0


def by_hand(steps, seed, ema, clip, decay):
    """The same training, written out; the data and the noise are those that the loop draws."""
    from hgm.learn.rows import Fresh
    from hgm.learn.seeds import generator_for

    network, rows = Small(), Fresh(TREE, 0, seed, torch.device("cpu"))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=decay)
    average = [p.detach().clone() for p in network.parameters()]
    for t in range(steps):
        x, g = rows.at(t, 16)[0], generator_for(seed, "noise", t)
        sigma = (log(0.2) + (log(2.0) - log(0.2)) * torch.rand(16, generator=g, dtype=torch.float64)).exp().float()
        z = GAUSSIAN.observe(x, sigma, generator=g)
        loss = (network(z, sigma) - GAUSSIAN.table().float()[x]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.param_groups[0]["lr"] = 0.005 * (1 + cos(pi * t / steps))
        optimizer.step()
        d = min(ema, (1 + t) / (10 + t))
        for a, p in zip(average, network.parameters(), strict=True):
            a.copy_(d * a + (1 - d) * p.detach())
    return torch.cat([a.flatten() for a in average])


def test_the_loop_is_adamw_with_clipped_gradients_and_averaged_weights():
    options = dict(ema=0.9, clip=0.05, weight_decay=0.1)
    network, _ = trained(noise=(0.2, 2.0), seed=3, warmup=0, validation=0, **options)
    assert torch.allclose(weights(network), by_hand(40, 3, 0.9, 0.05, 0.1), atol=1e-6)


def test_validation_is_of_the_averaged_weights_in_eval_mode():
    network, result = trained(Small(drop=0.5), steps=10, validation=100)
    _, again = trained(network, steps=1, learning_rate=1e-30, ema=0.0, validation=100)
    assert again.history[-1].validation == pytest.approx(result.history[-1].validation, rel=1e-6)


def test_training_stops_early_with_the_weights_of_the_best_validation():
    x = clean(TREE, 4, 0).leaves
    options = dict(noise=0.3, steps=4000, every=25, learning_rate=3e-2, batch_size=32)
    network, result = trained(Small(width=64), x, validation=clean(TREE, 500, 1).leaves, patience=3, **options)
    held = [row.validation for row in result.history]
    assert result.stopped and result.steps < 4000
    assert held.index(min(held)) == len(held) - 4
    options |= dict(steps=1, learning_rate=1e-30, ema=0.0)
    _, same = trained(network, x, validation=clean(TREE, 500, 1).leaves, **options)
    assert same.history[-1].validation == pytest.approx(min(held), rel=1e-5)


def test_every_row_of_a_sample_is_shown_once_in_every_epoch():
    from hgm.learn.rows import Fixed

    rows = Fixed(torch.arange(7)[:, None], torch.arange(7), 0, torch.device("cpu"))
    shown = torch.cat([rows.at(step, 3)[1] for step in range(14)])
    epochs = shown.reshape(6, 7)
    assert all(sorted(epoch.tolist()) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) > 1
    assert torch.equal(Fixed(rows.x, rows.y, 0, torch.device("cpu")).at(5, 3)[1], shown[15:18])  # whatever was before


@pytest.mark.parametrize("noise", [0.5, [0.1, 1.0], np.array([0.1, 1.0]), (0.1, 1.0)])
def test_levels_are_drawn_as_asked(noise):
    levels = checked_levels(noise, False).draw(20_000, torch.Generator().manual_seed(0))
    if isinstance(noise, tuple):
        unit = (levels.log() - log(0.1)) / log(10)
        assert unit.min() >= 0 and unit.max() <= 1
        assert abs(unit.mean() - 1 / 2) < 0.01 and abs(unit.var() - 1 / 12) < 0.01
    else:
        given = [noise] if isinstance(noise, float) else list(noise)
        assert set(levels.tolist()) == set(given) and abs(levels.mean() - np.mean(given)) < 0.01


def test_probabilities_are_uniform_and_a_function_draws_what_it_likes():
    t = checked_levels((0.0, 0.5), True).draw(20_000, torch.Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= 0.5 and abs(t.mean() - 0.25) < 0.01
    seen = []

    def noise(rows, generator):
        seen.append(rows)
        return 0.1 + torch.rand(rows, generator=generator)

    trained(noise=noise, validation=0)
    assert set(seen) == {16}


# ---------------------------------------------------------------------- the same every time


def test_a_seed_decides_everything_also_dropout():
    one, first = trained(Small(drop=0.3), seed=1)
    torch.rand(5)  # wherever the global generator is
    other, second = trained(Small(drop=0.3), seed=1)
    third, _ = trained(Small(drop=0.3), seed=2)
    assert torch.equal(weights(one), weights(other)) and not torch.equal(weights(one), weights(third))
    same_rows(first, second)


def test_nothing_global_is_changed():
    from accelerate import Accelerator

    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # torch itself names a cache in the environment here
    theirs = Accelerator(cpu=True, gradient_accumulation_steps=4)
    network = Small()
    network.layers[2].eval()
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), dict(os.environ))
    attributes, threads = set(vars(network)), torch.get_num_threads()
    trained(network)
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist() and before[3] == dict(os.environ)
    assert threads == torch.get_num_threads() and attributes == set(vars(network))
    assert [m.training for m in network.modules()].count(False) == 1
    assert theirs.gradient_accumulation_steps == 4
    assert theirs.state.initialized


def test_settings_of_accelerate_in_the_environment_play_no_part(monkeypatch):
    one, _ = trained()
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "inductor")
    other, _ = trained()
    assert torch.equal(weights(one), weights(other))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(hgm.BadSpec, match="one process"):
        trained()


def test_training_is_the_same_in_every_mode_of_autograd():
    one, _ = trained()
    with torch.no_grad():
        other, _ = trained()
    assert torch.equal(weights(one), weights(other))


# ---------------------------------------------------------------------- checkpoints


class Killed(Exception):
    pass


def killed_after(calls):
    """Noise that is drawn log-uniformly, until it fails."""
    count = [0]

    def noise(rows, generator):
        count[0] += 1
        if count[0] > calls:
            raise Killed
        return 0.1 + torch.rand(rows, generator=generator)

    return noise


@pytest.mark.parametrize("patience", [None, 50])
def test_a_run_that_goes_on_ends_as_one_that_was_not_interrupted(tmp_path, patience):
    options = dict(seed=4, patience=patience, validation=20)
    whole, first = trained(Small(drop=0.2), noise=killed_after(10**9), checkpoint=tmp_path / "a.safetensors", **options)
    path = tmp_path / "b.safetensors"
    with pytest.raises(hgm.BadExtension, match="Killed"):
        trained(Small(drop=0.2), noise=killed_after(30), checkpoint=path, **options)
    resumed, second = trained(Small(drop=0.2, seed=9), noise=killed_after(10**9), checkpoint=path, **options)
    assert torch.equal(weights(whole), weights(resumed))
    same_rows(first, second)
    again, third = trained(Small(seed=8), noise=killed_after(10**9), checkpoint=path, **options)  # it was at its end
    assert torch.equal(weights(whole), weights(again)) and isnan(third.step_seconds)


@pytest.mark.parametrize("kind", ["compiled", "batch norm"])
def test_buffers_and_compiled_networks_are_taken_up_again(tmp_path, kind):
    def network():
        if kind == "compiled":
            return hgm.compile(hgm.random_ghm(2, 2, 2, seed=5), "denoise", channel=GAUSSIAN, trainable=True)
        made = Small()
        made.layers.append(nn.BatchNorm1d(4))
        return made

    path, options = tmp_path / "c.safetensors", dict(validation=0)
    whole, _ = trained(network(), noise=killed_after(10**9), **options)
    with pytest.raises(hgm.BadExtension, match="Killed"):
        trained(network(), noise=killed_after(30), checkpoint=path, **options)
    resumed, _ = trained(network(), noise=killed_after(10**9), checkpoint=path, **options)
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.long
def test_a_process_that_is_killed_goes_on(tmp_path):
    path = tmp_path / "run.safetensors"
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import time, torch, hgm
        torch.manual_seed(0)
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(4, 4)
            def forward(self, z, sigma):
                time.sleep(0.001)
                return self.layer(z)
        net = Net()
        hgm.train(net, hgm.random_ghm(2, 2, 2, seed=1), steps=200, batch_size=4, every=20, validation=8,
                  checkpoint={str(path)!r}, progress=False)
        print(net.layer.weight.flatten().tolist())
    """)
    )
    command = [sys.executable, script]
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    while not path.exists():
        time.sleep(0.01)
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    resumed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    path.unlink()
    assert resumed == subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path)
    for what, options in {
        "the data": dict(data=hgm.random_ghm(2, 2, 2, seed=2)),
        "the noise": dict(noise=0.5),
        "the channel": dict(channel=hgm.Gaussian([0.0, 1.0])),
        "the seed": dict(seed=1),
        "the steps": dict(steps=41),
        "the network": dict(network=Small(width=8)),
    }.items():
        with pytest.raises(hgm.BadSpec, match=f"another run.*{what}"):
            trained(checkpoint=path, **options)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(hgm.BadSpec, match="damaged"):
        trained(checkpoint=path)
    path.write_bytes(content[:100])
    with pytest.raises(hgm.BadSpec, match="damaged"):
        trained(checkpoint=path)
    hgm.save_network(hgm.compile(TREE), path)
    with pytest.raises(hgm.BadSpec, match=r"not a checkpoint of hgm\.train"):
        trained(checkpoint=path)


# ---------------------------------------------------------------------- what is wrong


class Diverges(Small):
    """Infinite after so many calls that count."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def forward(self, z, sigma):
        self.left -= self.training
        return super().forward(z, sigma) * (nan if self.left < 0 else 1)


class Frozen(nn.Module):
    def forward(self, z, sigma):
        return z


class Wrong(Small):
    def forward(self, z, sigma):
        return super().forward(z, sigma)[:, :2]


class Apart(Small):
    def forward(self, z, sigma):
        return z


LEAVES = torch.zeros(5, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(network=Wrong()), r"\(16, 4\); Wrong gave torch.float32 of shape \(16, 2\)"),
        (dict(network=Frozen()), "Frozen has no parameters that learn"),
        (dict(network=hgm.compile(TREE, "denoise", channel=hgm.Gaussian())), "trainable=True"),
        (dict(network=Apart()), "does not depend on its parameters"),
        (dict(network=nn.Linear(4, 4)), "the network Linear, called as .* fails"),
        (dict(network=Small(leaves=3)), "the network Small, called as .* fails"),
        (dict(network=Small(), task="posterior"), r"\(16, 2, 4\); Small gave"),
        (dict(network=Diverges(25)), "the loss is nan at step 26"),
        (dict(steps=0), "steps must be a whole number of at least 1; got 0"),
        (dict(batch_size=0), "batch_size must be a whole number of at least 1; got 0"),
        (dict(noise=(1.0, 0.1)), "low below high"),
        (dict(noise=(0.1, 0.2, 0.3)), "has 3 numbers"),
        (dict(noise=-1.0), "positive and finite"),
        (dict(noise=(0.0, 1.0)), "positive and finite"),
        (dict(noise=[]), "got "),
        (dict(noise=lambda rows, generator: torch.zeros(rows)), "must give levels positive and finite"),
        (dict(noise=lambda rows, generator: torch.ones(rows + 1)), r"here \(16,\)"),
        (dict(channel=hgm.Flip(), task="posterior", noise=1.5), "from 0 to 1"),
        (dict(channel=hgm.Clamp(), noise=0.5), "Clamp has no noise to choose"),
        (dict(data=torch.zeros(5, 3, dtype=torch.long)), "the network Small"),
        (dict(data=torch.zeros(0, 4, dtype=torch.long)), "nothing to learn from"),
        (dict(data=LEAVES - 1), "missing"),
        (dict(data=LEAVES + 2), "symbols must be 0 to 1"),
        (dict(data=torch.full((5, 4), nan)), "NaN or infinity"),
        (dict(data=LEAVES, n=3), "n is how many rows to draw from a tree"),
        (dict(data=LEAVES, validation=5), "at most 4"),
        (dict(data=LEAVES, validation=LEAVES[:, :3]), r"like the data, \(5, 4\); got \(5, 3\)"),
        (dict(validation=LEAVES[:, None] * 1.0), r"of leaves \(4,\); got \(5, 1, 4\)"),
        (dict(validation=(LEAVES, [0, 1, 2, 1, 0]), task="classify", network=Classes()), "must be 0 to 1.*; got 2"),
        (dict(data=(LEAVES, [0, 1, 2, 1, 0]), task="classify", network=Classes()), r"\(16, 3\); Classes gave"),
        (dict(validation=LEAVES[:, :3]), r"of leaves \(4,\)"),
        (dict(data=LEAVES, patience=2), "there are none"),
        (dict(data=LEAVES, task="classify", network=Classes()), "a tuple of rows and their labels"),
        (dict(data=(LEAVES, torch.zeros(4)), task="classify", network=Classes()), "one for each of 5 rows"),
        (dict(checkpoint="run.pt"), "must end in .safetensors"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(options, message):
    options = {name: copy.deepcopy(value) if name == "network" else value for name, value in options.items()}
    with pytest.raises(hgm.HgmError, match=message) as caught:
        trained(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [Classes, lambda: hgm.compile(TREE, "classify", channel=hgm.Clamp(), trainable=True)])
def test_labels_of_ones_own_data_may_lack_a_class(make):
    _, training = trained(network=make(), data=(LEAVES, [0] * 5), channel=hgm.Clamp([0.0, 1.0]), task="classify")
    assert training.history[-1].loss < training.history[0].loss


def test_weights_beyond_the_range_of_the_kernels_are_an_error_that_names_the_step():
    network = hgm.compile(TREE, "denoise", channel=GAUSSIAN, trainable=True)
    with pytest.raises(hgm.BadPotential, match=r"at step \d+: .*range"):
        trained(network, learning_rate=100.0, clip=float("inf"), warmup=0)


def test_a_training_prints_as_a_table():
    _, result = trained()
    lines = str(result).splitlines()
    assert lines[0].split() == ["step", "loss", "validation", "learning", "rate", "seconds"] and len(lines) == 6
    assert "did 40 steps" in repr(result) and result.step_seconds > 0
