"""Schedulers: made for a process, and read: the noise that they state is the noise that their `add_noise` adds."""

import diffusers
import numpy as np
import pytest
import torch

import hgm
from hgm.diffusion import (
    Masked,
    RectifiedFlow,
    StochasticLocalisation,
    VarianceExploding,
    VariancePreserving,
    scheduler,
)
from hgm.diffusion.schedulers import LEVELS, NAMES, levels, predicts


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_those_of_what_a_model_is_shown(name):
    made = scheduler(name)
    made.set_timesteps(7)
    x, g = torch.full((1, 1), 3.0), torch.full((1, 1), 0.7)
    add = made.scale_noise if name == "flow" else made.add_noise
    for index, t in enumerate(made.timesteps):
        if name == "heun" and index % 2:
            continue  # its second evaluations have the noise of the next step
        made._step_index = None
        if hasattr(made, "set_begin_index"):
            made.set_begin_index(index)
        state = add(x, t[None], g) if name == "flow" else add(x, g, t[None])
        made._step_index = index
        shown = made.scale_model_input(state, t) if hasattr(made, "scale_model_input") else state
        alpha, sigma = levels(made, index, t)
        torch.testing.assert_close(shown, alpha.float() * x + sigma.float() * g, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "flow"])
@pytest.mark.parametrize(
    "process",
    [VariancePreserving("cosine"), VarianceExploding(0.05, 20.0), RectifiedFlow(), StochasticLocalisation()],
    ids=repr,
)
def test_a_scheduler_has_the_ratios_of_its_process(name, process):
    made = scheduler(name, process)
    alpha, sigma = process.at(torch.tensor([0.001, 0.25, 0.5, 0.75, 1.0]))
    square = made.alphas_cumprod[torch.tensor([0, 249, 499, 749, 999])].double()
    torch.testing.assert_close((1 / square - 1).sqrt(), sigma / alpha, rtol=2e-3, atol=2e-3)


def test_nothing_is_clipped_and_options_are_passed_on():
    for name in NAMES:
        made = scheduler(name)
        assert not made.config.get("clip_sample") and not made.config.get("thresholding")
        assert predicts(made) == ("velocity" if name == "flow" else "x0")
    assert scheduler("ddim", prediction_type="epsilon").config.prediction_type == "epsilon"
    assert scheduler("dpm++", solver_order=3).config.solver_order == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scheduler("dim"), "did you mean 'ddim'"),
        (lambda: scheduler(3), "a scheduler is one of"),
        (lambda: scheduler("ddim", Masked()), "a continuous process"),
        (lambda: scheduler("flow", VariancePreserving()), "RectifiedFlow"),
        (lambda: scheduler("ddim", clip_sample=True), "clip_sample=True"),
        (lambda: scheduler("ddpm", thresholding=True), "thresholding=True"),
        (lambda: scheduler("ddpm", variance_type="learned"), "a variance that is learned"),
        (lambda: scheduler("ddim", prediction_type="image"), "prediction_type must be one of"),
        (lambda: scheduler("ddim", speed=3), "cannot be made"),
        (lambda: scheduler("ddim", VarianceExploding(1e-4, 10.0)), "in single precision"),
        (lambda: scheduler("ddim", prediction_type="flow_prediction"), "is of flow matching"),
        (lambda: scheduler("dpm++", prediction_type="flow_prediction"), "is of flow matching"),
        (lambda: scheduler("flow", invert_sigmas=True), "time runs from data to noise"),
        (lambda: scheduler("dpm++", use_beta_sigmas=True), "cannot be made"),
    ],
)
def test_what_would_go_wrong_is_refused(call, message):
    with pytest.raises(hgm.BadSpec, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_scheduler_of_ones_own_is_one_line(monkeypatch):
    class Mine(diffusers.DDIMScheduler):
        pass

    net = hgm.compile(hgm.star(3, 2, seed=0), "denoise", channel=hgm.Gaussian([-1.0, 1.0]))
    with pytest.raises(hgm.BadSpec, match="the schedulers that are driven are DDPMScheduler"):
        hgm.diffusion.sample(net, Mine(clip_sample=False), 2)
    monkeypatch.setitem(LEVELS, "Mine", LEVELS["DDIMScheduler"])
    draws = [torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)]
    mine = hgm.diffusion.sample(net, Mine(clip_sample=False), 2, generator=draws[0])
    theirs = hgm.diffusion.sample(net, diffusers.DDIMScheduler(clip_sample=False), 2, generator=draws[1])
    assert np.array_equal(mine, theirs)
