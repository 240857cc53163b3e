"""Networks as models of diffusers, and back; the pipelines run in new processes, without a network connection."""

import os
import subprocess
import sys

import diffusers
import pytest
import torch
from diffusion.models import channel, noisy, tokens, tree, unet

import hgm
from hgm.diffusion import Denoiser, as_diffusers, from_diffusers, sample

TYPES = ["sample", "epsilon", "v_prediction"]
VECTORS = hgm.Gaussian([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5]])


def ddim(wanted="sample", **options):
    return diffusers.DDIMScheduler(clip_sample=False, prediction_type=wanted, **options)


def drawn(pipeline, output_type="pt", n=3, **options):
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return pipeline(
        batch_size=n, generator=generator, num_inference_steps=12, output_type=output_type, **options
    ).images


@pytest.mark.parametrize("wanted", TYPES)
@pytest.mark.parametrize(
    ("kind", "pipe"),
    [
        (diffusers.DDPMScheduler, diffusers.DDPMPipeline),
        (diffusers.DDIMScheduler, diffusers.DDIMPipeline),
        (diffusers.DPMSolverMultistepScheduler, diffusers.DDPMPipeline),
    ],
)
def test_pipelines_draw_what_sample_draws(wanted, kind, pipe):
    options = {} if "Solver" in kind.__name__ else {"clip_sample": False}
    scheduler = kind(prediction_type=wanted, **options)
    images = drawn(pipe(as_diffusers(unet(), scheduler), scheduler))[:, 0]
    own = sample(
        unet(), kind(prediction_type=wanted, **options), 3, steps=12, generator=torch.Generator().manual_seed(0)
    )
    low, high = -1.0, 1.3
    torch.testing.assert_close(images, ((own - low) / (high - low)).clamp(0, 1), rtol=0, atol=2e-3)


@pytest.mark.parametrize("wanted", TYPES)
def test_it_answers_in_the_type_that_is_asked_for(wanted):
    model = as_diffusers(unet(), ddim(wanted))
    alpha = model.square[500].sqrt()
    sigma = (1 - model.square[500]).sqrt()
    u, half, middle = noisy()[:, None], 1.15, 0.15
    mean = (unet()(middle + half * u[:, 0] / alpha, half * sigma / alpha) - middle) / half
    noise = (u[:, 0] - alpha * mean) / sigma
    want = {"sample": mean, "epsilon": noise, "v_prediction": alpha * noise - sigma * mean}[wanted]
    torch.testing.assert_close(model(u, 500).sample[:, 0], want, rtol=0, atol=1e-10)
    torch.testing.assert_close(model(u, torch.full((5,), 500), return_dict=False)[0][:, 0], want, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: unet(), (1, 4, 4)),
        (lambda: unet(tokens()), (1, 8)),
        (lambda: hgm.compile(tree(), "denoise", channel=VECTORS), (2, 4, 4)),
        (lambda: hgm.compile(tokens(), "denoise", channel=VECTORS), (2, 8)),
    ],
    ids=["image", "sequence", "image of vectors", "sequence of vectors"],
)
@pytest.mark.parametrize("wanted", TYPES)
def test_there_and_back_again_is_the_same_denoiser(net, shape, wanted):
    net, scheduler = net(), ddim(wanted)
    model = as_diffusers(net, scheduler)
    assert isinstance(model, diffusers.ModelMixin | diffusers.ConfigMixin)
    assert model.config.in_channels == shape[0] and tuple(model.config.sample_size) == shape[1:]
    back = from_diffusers(model, scheduler, net.channel)
    square = scheduler.alphas_cumprod[torch.tensor([3, 50, 300, 700, 999])].double()
    sigma = back.scale.half * ((1 - square) / square).sqrt()
    z = noisy(5, shape) if shape[0] == 2 else noisy(5, shape[1:])
    torch.testing.assert_close(back(z, sigma), net(z, sigma), rtol=0, atol=1e-5)
    torch.testing.assert_close(back(0.5 * z, 0.5 * sigma, 0.5), net(z, sigma), rtol=0, atol=1e-5)
    assert drawn(diffusers.DDIMPipeline(model, scheduler)).shape == (3, *shape)


@pytest.mark.long
def test_pipelines_are_saved_and_loaded_in_a_new_process_without_a_connection(tmp_path):
    for name, pipe in (("ddim", diffusers.DDIMPipeline), ("ddpm", diffusers.DDPMPipeline)):
        scheduler = ddim("epsilon") if name == "ddim" else diffusers.DDPMScheduler(clip_sample=False)
        pipeline = pipe(as_diffusers(unet(), scheduler), scheduler)
        pipeline.save_pretrained(tmp_path / name)
        torch.save(drawn(pipeline), tmp_path / f"{name}.pt")
    code = """
import sys, torch, diffusers, hgm.diffusion.model
for name, pipe in (("ddim", diffusers.DDIMPipeline), ("ddpm", diffusers.DDPMPipeline)):
    pipeline = pipe.from_pretrained(name)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    images = pipeline(batch_size=3, generator=generator, num_inference_steps=12, output_type="pt").images
    assert torch.equal(images, torch.load(name + ".pt")), name
    pipeline.save_pretrained(name + " again")
    assert type(pipeline.unet.network).__name__ == "UNet"
"""
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ddpm again" / "unet" / "config.json").is_file()


def test_pictures_and_arrays():
    scheduler = ddim()
    pipeline = diffusers.DDIMPipeline(as_diffusers(unet(), scheduler), scheduler)
    assert drawn(pipeline, "np").shape == (3, 4, 4, 1)
    assert drawn(pipeline, "pil")[0].size == (4, 4)


def test_a_model_of_diffusers_is_a_denoiser():
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [8]}
    model = diffusers.UNet2DModel(
        sample_size=4, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4, **blocks
    ).eval()
    denoiser = from_diffusers(model, ddim("epsilon"))
    x = sample(denoiser, "ddim", 2, steps=4, generator=torch.Generator().manual_seed(0))
    assert x.shape == (2, 4, 4)
    z, square = noisy(2, dtype=torch.float32), ddim().alphas_cumprod[300]
    alpha, sigma = square.sqrt(), (1 - square).sqrt()
    with torch.no_grad():
        noise = model((alpha * z)[:, None], 300).sample[:, 0]
        torch.testing.assert_close(denoiser(z, sigma / alpha), z - sigma / alpha * noise, rtol=0, atol=1e-4)
        between = denoiser(z, float(sigma / alpha) * 1.001)  # a time between two
    assert 0 < (between - denoiser(z, sigma / alpha)).abs().max() < 0.05


def test_only_compiled_networks_are_saved(tmp_path):
    given = Denoiser(tree(), channel(), {"label": 1})
    model = as_diffusers(given, ddim())
    assert drawn(diffusers.DDIMPipeline(model, ddim())).shape == (3, 1, 4, 4)
    with pytest.raises(hgm.BadSpec, match=r"a network that hgm\.compile made"):
        model.save_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: as_diffusers(unet(), diffusers.EulerDiscreteScheduler()), "wrong for EulerDiscreteScheduler"),
        (lambda: as_diffusers(unet(), diffusers.HeunDiscreteScheduler()), "wrong for HeunDiscreteScheduler"),
        (lambda: as_diffusers(unet(), diffusers.LMSDiscreteScheduler()), "wrong for LMSDiscreteScheduler"),
        (lambda: as_diffusers(unet(), diffusers.KDPM2DiscreteScheduler()), "wrong for KDPM2DiscreteScheduler"),
        (lambda: as_diffusers(unet(), "ddim"), "wrong for str"),
        (lambda: as_diffusers(unet(), diffusers.DDIMScheduler()), "clip_sample=True"),
        (lambda: as_diffusers(unet(), ddim("x0")), "prediction_type must be one of"),
        (lambda: as_diffusers(None, ddim()), "a network is called as"),
        (lambda: as_diffusers(hgm.compile(tree()), ddim()), "the data of diffusers are values"),
        (lambda: as_diffusers(hgm.compile(tree(), "classify", channel=channel()), ddim()), "in the shape of z"),
        (lambda: as_diffusers(unet(), ddim())(noisy(2)[:, None], 1000), "whole numbers 0 to 999 of the scheduler"),
        (lambda: as_diffusers(unet(), ddim())(noisy(2)[:, None], 3.5), "whole numbers 0 to 999 of the scheduler"),
        (lambda: as_diffusers(unet(), ddim())(noisy(2)[:, None], torch.tensor([1, 2, 3])), "one for each row"),
        (lambda: as_diffusers(unet(), ddim())(noisy(2), 3), r"the model takes \(B, 1, 4, 4\); got"),
        (lambda: from_diffusers(3, ddim()), "a model of diffusers is called as"),
        (lambda: from_diffusers(unet(), diffusers.FlowMatchEulerDiscreteScheduler()), "has no alphas"),
        (lambda: from_diffusers(unet(), ddim(), hgm.Flip()), "the data of diffusers are values"),
        (
            lambda: from_diffusers(as_diffusers(unet(), ddim()), ddim(), channel())(noisy(), 1e4),
            "was trained for noise of",
        ),
        (lambda: from_diffusers(as_diffusers(unet(), ddim()), ddim(), channel())(noisy(), 1e-6), "batch rows 0, 1, 2"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, in KDPM2
def test_what_would_go_wrong_is_refused_in_one_line(call, message):
    with pytest.raises(hgm.HgmError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model_is_told(tmp_path):
    from hgm.diffusion.model import HgmModel

    with pytest.raises(hgm.BadSpec, match="is no folder with a model of hgm"):
        HgmModel.from_pretrained(tmp_path)
