"""Sampling: the law of the samples, what goes to the denoiser, and what is refused."""

import math
import weakref

import diffusers
import numpy as np
import pytest
import torch
from diffusion.models import VALUES, channel, tokens, tree, unet
from scipy import stats
from torch import nn

import hgm
from hgm.diffusion import Denoiser, VariancePreserving, guided, sample, scheduler
from hgm.diffusion.schedulers import NAMES


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def symbols(x):
    """The nearest states, and how far they are."""
    apart = (x[..., None] - torch.tensor(VALUES)).abs()
    return apart.argmin(-1), apart.amin(-1)


@pytest.mark.parametrize("name", NAMES)
def test_samples_of_two_pixels_have_the_law_of_the_model(name):
    """The joint of two leaves, by a chi-square test: enough steps, and a sample that would tell a wrong table."""
    small = hgm.ghm([hgm.Level(2, 3, potential=[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])], 2, prior=[0.4, 0.6])
    over, n = hgm.Gaussian(VALUES), 3000
    x, far = symbols(sample(hgm.compile(small, "denoise", channel=over), name, n, steps=300, generator=seeded()))
    assert far.max() < 0.01
    prior, table = np.array([0.4, 0.6]), np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    joint = np.einsum("r,ra,rb->ab", prior, table, table)
    counts = np.zeros((3, 3))
    np.add.at(counts, (x[:, 0].numpy(), x[:, 1].numpy()), 1)
    assert stats.chisquare(counts.ravel(), n * joint.ravel()).pvalue > 1e-3
    wrong = np.outer(joint.sum(1), joint.sum(0))  # as if they knew nothing of each other
    assert stats.chisquare(counts.ravel(), n * wrong.ravel()).pvalue < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("of", [tree, tokens])
def test_shapes_and_values(name, of):
    x = sample(unet(of()), name, 3, steps=20, generator=seeded())
    assert x.shape == (3, *of().leaf_shape) and x.dtype == torch.float32
    assert symbols(x)[1].max() < 0.1


@pytest.mark.parametrize(("kind", "types"), [
    (diffusers.DDIMScheduler, ["epsilon", "v_prediction"]),
    (diffusers.DDPMScheduler, ["epsilon", "v_prediction"]),
    (diffusers.EulerDiscreteScheduler, ["epsilon", "v_prediction"]),
    (diffusers.HeunDiscreteScheduler, ["epsilon", "v_prediction"]),
    (diffusers.DPMSolverMultistepScheduler, ["epsilon", "v_prediction"]),
])  # fmt: skip
def test_any_type_of_prediction_gives_the_same_samples(kind, types):
    options = {"clip_sample": False} if "D" in kind.__name__[:2] and "Solver" not in kind.__name__ else {}
    want = sample(unet(), kind(prediction_type="sample", **options), 4, steps=15, generator=seeded())
    for wanted in types:
        got = sample(unet(), kind(prediction_type=wanted, **options), 4, steps=15, generator=seeded())
        torch.testing.assert_close(got, want, rtol=0, atol=2e-3)


def test_a_solver_that_steps_in_the_noise_of_a_flow_is_driven():
    kind, options = diffusers.DPMSolverMultistepScheduler, {"use_flow_sigmas": True}
    want = sample(unet(), kind(prediction_type="sample", **options), 4, steps=15, generator=seeded())
    got = sample(unet(), kind(prediction_type="flow_prediction", **options), 4, steps=15, generator=seeded())
    torch.testing.assert_close(got, want, rtol=0, atol=2e-3)
    assert symbols(want)[1].max() < 0.01


def test_multistep_schedulers_begin_with_their_first_step():
    """Where steps are dense, their first times round to the same number, by which the first is not found."""
    made = scheduler("dpm++", VariancePreserving("cosine"))
    made.set_timesteps(100)
    assert made.timesteps[0] == made.timesteps[1]
    sample(unet(), made, 1, steps=100, generator=seeded())
    assert made.step_index == 100


def test_data_far_from_zero_are_sampled_alike():
    """An affine map of the values maps the samples."""
    moved = hgm.Gaussian([1000 + 50 * value for value in VALUES])
    x = sample(unet(), "heun", 4, steps=20, generator=seeded())
    y = sample(hgm.compile(tree(), "denoise", channel=moved), "heun", 4, steps=20, generator=seeded())
    torch.testing.assert_close(y, 1000 + 50 * x, rtol=0, atol=0.5)


def test_what_is_known_is_kept():
    given = {"label": 1, "x0_0": 2, "x3_3": 0}
    x, _ = symbols(sample(Denoiser(tree(), channel(), given), "ddim", 6, generator=seeded()))
    assert (x[:, 0, 0] == 2).all() and (x[:, 3, 3] == 0).all()
    by_row = Denoiser(tree(), channel(), {"x0_0": [0, 1, 2, 0, 1]})
    for batch in (None, 2):
        x, _ = symbols(sample(by_row, "ddim", 5, generator=seeded(), batch_size=batch))
        assert x[:, 0, 0].tolist() == [0, 1, 2, 0, 1]
    cnn = hgm.compile(tree(), "classify", channel=channel())
    lean = guided(unet(), cnn, [0, 1, 2], strength=1.0)
    got = sample(lean, "ddim", 3, steps=10, generator=seeded(), batch_size=2)
    want = sample(
        Denoiser(tree(), channel(), {"label": [0, 1, 2]}), "ddim", 3, steps=10, generator=seeded(), batch_size=2
    )
    torch.testing.assert_close(got, want, rtol=0, atol=1e-3)


def test_vectors_and_networks_of_ones_own():
    over = hgm.Gaussian([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5]])
    assert sample(Denoiser(tokens(), over), "flow", 3, steps=5).shape == (3, 2, 8)

    class Mine(nn.Module):
        def forward(self, z, sigma):
            assert sigma.shape == (len(z),)
            return z / (1 + sigma.square())[:, None]  # of standard normal data

    x = sample(Mine(), scheduler("ddim"), 4000, steps=100, shape=[2], generator=seeded())
    assert x.shape == (4000, 2) and float(x.std()) == pytest.approx(1, abs=0.03)
    assert torch.equal(sample(lambda z, sigma: 0 * z, "ddim", 2, steps=3, shape=4), torch.zeros(2, 4))


def test_the_same_generator_gives_the_same_samples_and_none_is_drawn_elsewhere():
    before = torch.get_rng_state()
    runs = [sample(unet(), "ddpm", 3, steps=5, generator=seeded(3)) for _ in range(2)]
    assert torch.equal(*runs) and torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(runs[0], sample(unet(), "ddpm", 3, steps=5, generator=seeded(4)))
    assert sample(unet(), n=0).shape == (0, 4, 4)
    with torch.inference_mode():
        assert torch.equal(sample(unet(), "ddpm", 3, steps=5, generator=seeded(3)), runs[0])


def test_the_callback_sees_every_step_and_nothing_of_the_path_is_kept():
    seen, alive = [], []

    def look(step):
        alive.append(sum(reference() is not None for reference in seen))
        seen.append(weakref.ref(step.z))
        assert step.z.shape == step.mean.shape == (2, 4, 4) and step.steps == 40
        torch.testing.assert_close(unet()(step.z, step.sigma), step.mean, rtol=0, atol=1e-5)

    sample(unet(), "ddim", 2, steps=40, generator=seeded(), callback=look)
    assert len(seen) == 40 and max(alive) <= 2


def test_progress_is_shown_if_asked_for(capsys):
    sample(unet(), "ddim", 2, steps=3)
    assert capsys.readouterr().err == ""
    sample(unet(), "heun", 4, steps=3, batch_size=2, progress=True)
    assert "/10" in capsys.readouterr().err


def classifier():
    return hgm.compile(tree(), "classify", channel=channel())


class Wrong(nn.Module):
    leaf_shape = (4, 4)

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, z, sigma):
        return self.answer(z)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sample(Wrong(lambda z: z * torch.nan)),
            r"Wrong gave NaN or infinity at step 0 of 50 \(sigma .*rows 0",
        ),
        (
            lambda: sample(Wrong(lambda z: z[:, :2])),
            r"in the shape of z, \(1, 4, 4\); Wrong gave \(1, 2, 4\) at step 0",
        ),
        (lambda: sample(Wrong(lambda z: None)), "Wrong gave None"),
        (lambda: sample(hgm.compile(tree(), "posterior", channel=channel())), r"UNet gave \(1, 3, 4, 4\)"),
        (lambda: sample(hgm.compile(tree())), "the data of this scheduler are values"),
        (lambda: sample(None), "a denoiser is called as"),
        (lambda: sample(lambda z, s: z), "give shape="),
        (lambda: sample(unet(), shape=(3, 3)), r"for data of shape \(4, 4\)"),
        (lambda: sample(unet(), "fast"), "a scheduler is one of"),
        (lambda: sample(unet(), diffusers.DDIMScheduler()), "clip_sample=True"),
        (lambda: sample(unet(), diffusers.PNDMScheduler()), "the schedulers that are driven"),
        (lambda: sample(unet(), steps=5000), "cannot take 5000 steps"),
        (lambda: sample(unet(), steps=0), "steps must be a whole number"),
        (lambda: sample(unet(), n=-1), "n must be a whole number"),
        (lambda: sample(unet(), batch_size=0), "batch_size must be"),
        (lambda: sample(unet(), channel=hgm.Flip()), "the data of this scheduler are values"),
        (lambda: sample(unet(), channel=hgm.Gaussian([0.0, 1.0])), "of data with 3 values, but the channel has 2"),
        (lambda: sample(unet(), generator=3), "generator must be a torch.Generator"),
        (lambda: sample(unet(), callback=3), "callback must be"),
        (lambda: sample(unet(), progress="yes"), "progress must be"),
        (lambda: sample(Denoiser(tree(), channel(), {"label": [0, 1, 2]}), n=2), "has 3 rows, one for each sample"),
        (
            lambda: sample(guided(Denoiser(tree(), channel(), {"label": [0, 1, 2]}), classifier(), 1), n=2),
            "has 3 rows, one for each sample",
        ),
        (lambda: sample(guided(unet(), classifier(), [0, 1, 2]), n=2), "has 3 rows, one for each sample"),
        (
            lambda: sample(Denoiser(tree(), channel(), {"label": [0, 1]}), n=3),
            "has 2 rows, one for each sample; got n=3",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, message):
    with pytest.raises(hgm.HgmError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------- symbols


def posterior(kind, **given):
    return Denoiser(tree(), kind(), given.get("evidence"), "posterior", "leaves")


def schedulers_of_symbols():
    return {
        "masked": ("masked", hgm.Erasure),
        "a process": (hgm.diffusion.Masked(), hgm.Erasure),
        "a schedule": (hgm.diffusion.schedule(tree(), 4, draws=64), hgm.Erasure),
        "an order": (hgm.diffusion.schedule(tree(), 4, draws=64, order=sorted(leaf_names())), hgm.Erasure),
        "uniform": ("uniform", hgm.Flip),
        "ddim": (diffusers.DiscreteDDIMScheduler(num_inference_steps=7), hgm.Flip),
        "vq": (diffusers.VQDiffusionScheduler(num_vec_classes=4, num_train_timesteps=7), hgm.Flip),
        "entropy": (diffusers.EntropyBoundScheduler(num_inference_steps=16), hgm.Erasure),
        "blocks": (diffusers.BlockRefinementScheduler(num_inference_steps=7), hgm.Erasure),
    }


def leaf_names():
    return [tree().names[int(v)] for v in tree().leaves]


@pytest.mark.parametrize("kind", schedulers_of_symbols())
def test_samplers_of_symbols_have_the_same_door(kind):
    scheduler, channel_kind = schedulers_of_symbols()[kind]
    seen = []
    x = sample(posterior(channel_kind), scheduler, 5, generator=seeded(), callback=seen.append, batch_size=3)
    assert x.shape == (5, 4, 4) and x.dtype == torch.int64 and 0 <= int(x.min()) <= int(x.max()) <= 2
    assert len(seen) == 2 * seen[0].steps and torch.equal(seen[-1].z, x[3:]) and math.isnan(seen[0].sigma)
    again = sample(posterior(channel_kind), schedulers_of_symbols()[kind][0], 5, generator=seeded(), batch_size=3)
    assert torch.equal(again, x)
    assert sample(posterior(channel_kind), schedulers_of_symbols()[kind][0], 0).shape == (0, 4, 4)


def test_a_schedule_is_followed_in_its_order():
    names = leaf_names()[::-1]
    plan, seen = hgm.diffusion.schedule(tree(), 4, order=names, draws=32), []
    sample(posterior(hgm.Erasure), plan, 3, generator=seeded(), callback=lambda step: seen.append(step.z.flatten(1)))
    for known, z in zip(np.cumsum(plan.sizes), seen, strict=True):
        assert (z[:, 16 - known :] >= 0).all() and (z[:, : 16 - known] == -1).all()


@pytest.mark.parametrize(("kind", "channel_kind"), [("masked", hgm.Erasure), ("uniform", hgm.Flip)])
def test_symbols_take_fifty_steps_unless_told(kind, channel_kind):
    seen = []
    sample(posterior(channel_kind), kind, 1, callback=seen.append)
    assert len(seen) == seen[0].steps == 50


def test_amused_is_driven_once_its_timesteps_are_set():
    scheduler = diffusers.AmusedScheduler(mask_token_id=3)
    scheduler.set_timesteps(6, temperature=10)
    assert sample(posterior(hgm.Erasure), scheduler, 2, generator=seeded()).shape == (2, 4, 4)
    heat = scheduler.temperatures
    assert len(sample(posterior(hgm.Erasure), scheduler, 2, steps=4, generator=seeded())) == 2
    assert len(scheduler.timesteps) == 4  # and its temperatures still go from the first to the last
    assert scheduler.temperatures[[0, -1]].tolist() == heat[[0, -1]].tolist()


@pytest.mark.parametrize("kind", ["masked", "uniform", "a schedule"])
def test_symbols_that_are_known_are_kept(kind):
    scheduler, channel_kind = schedulers_of_symbols()[kind]
    given = {"x0_0": [0, 1, 2], "label": 1}
    x = sample(posterior(channel_kind, evidence=given), scheduler, 3, generator=seeded(), batch_size=2)
    assert x[:, 0, 0].tolist() == [0, 1, 2]


def test_a_scheduler_that_fails_is_blamed():
    scheduler = diffusers.EntropyBoundScheduler(t_min=0.0, t_max=0.0, num_inference_steps=3)
    with pytest.raises(hgm.BadExtension, match="the sampler EntropyBoundScheduler fails"):
        sample(posterior(hgm.Erasure), scheduler, 2, generator=seeded())


def test_uniform_diffusion_needs_leaves_with_the_same_states():
    tree = hgm.Tree.from_factors(
        [(("a", "b"), [[0.5, 0.5], [0.2, 0.8]]), (("a", "c"), [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])]
    )
    for net in (hgm.compile(tree, channel=hgm.Flip()), Denoiser(tree, hgm.Flip(), task="posterior")):
        with pytest.raises(hgm.BadSpec, match="uniform diffusion draws from the same states everywhere"):
            sample(net, "uniform", 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample(posterior(hgm.Flip), "masked"), "Masked is observed through the channel Erasure"),
        (lambda: sample(posterior(hgm.Erasure), "uniform"), "Uniform is observed through the channel Flip"),
        (lambda: sample(unet(), "masked"), "Masked is observed through the channel Erasure"),
        (lambda: sample(posterior(hgm.Erasure), "ddim"), "the data of this scheduler are values"),
        (lambda: sample(lambda z: z, "masked", shape=3), r"how many states there are; give channel=hgm\.Erasure"),
        (lambda: sample(posterior(hgm.Erasure), schedulers_of_symbols()["a schedule"][0], steps=3), "has 4 steps; got"),
        (lambda: sample(Denoiser(tree(), hgm.Erasure(), task="denoise"), "masked"), "step 0: a denoiser of discrete"),
        (
            lambda: sample(lambda z: z * torch.nan, "masked", shape=3, channel=hgm.Erasure(states=2)),
            "step 0: a denoiser",
        ),
        (lambda: sample(posterior(hgm.Erasure), diffusers.AmusedScheduler(mask_token_id=3)), "no timesteps yet"),
        (
            lambda: sample(posterior(hgm.Erasure), diffusers.AmusedScheduler(mask_token_id=2), steps=3),
            "mask_token_id=3",
        ),
        (lambda: sample(posterior(hgm.Flip), diffusers.VQDiffusionScheduler(num_vec_classes=3)), "num_vec_classes=4"),
    ],
)
def test_what_does_not_fit_symbols_is_refused_in_one_line(call, message):
    with pytest.raises(hgm.HgmError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
