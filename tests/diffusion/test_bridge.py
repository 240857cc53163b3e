"""Networks as models of diffusers, and back; the pipelines run in new processes, without a network connection."""

import os
import subprocess
import sys

import diffusers
import pytest
import torch
from diffusion.models import VALUES, channel, noisy, tokens, tree, unet

import hgm
from hgm.diffusion import Denoiser, VariancePreserving, as_diffusers, from_diffusers, sample, scheduler
from hgm.diffusion.scale import Scale

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


def test_how_a_scheduler_steps_and_clips_is_nothing_to_a_denoiser():
    model = as_diffusers(unet(), ddim("epsilon"))
    z, sigma = noisy(), 1.15 * float(model.square[300].reciprocal().sub(1).sqrt())
    for given in (diffusers.DDPMScheduler(), diffusers.PNDMScheduler(), diffusers.DDIMScheduler()):
        torch.testing.assert_close(
            from_diffusers(model, given, channel())(z, sigma), unet()(z, sigma), rtol=0, atol=1e-5
        )


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
        (lambda: as_diffusers(unet(), ddim())(noisy(2), 3), r"the model takes floats \(B, 1, 4, 4\); got"),
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("process", [VariancePreserving(), VariancePreserving("cosine")], ids=repr)
def test_pipelines_in_other_precisions_draw_the_same(dtype, process):
    made = scheduler("ddim", process)
    want = drawn(diffusers.DDIMPipeline(as_diffusers(unet(), made), made), n=40).float()
    model = as_diffusers(unet(), made).to(dtype)
    noise = noisy(2, (1, 4, 4)).to(dtype)
    assert model(noise, 999).sample.dtype == dtype and model(noise, 0).sample.isfinite().all()
    got = drawn(diffusers.DDIMPipeline(model, made), n=40).float()
    if dtype != torch.float64:  # which draws other noise
        assert ((got - want).abs() < 0.05).float().mean() > 0.97
    apart = (got[..., None] - (torch.tensor(VALUES) + 1) / 2.3).abs().amin(-1)
    assert apart.max() < 0.1


def test_a_scheduler_that_begins_with_noise_alone():
    """alphas_cumprod ends in 0: what the model answers there is as good as the mean of the data."""
    options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    made = ddim("v_prediction", **options)
    model = as_diffusers(unet(), made)
    u = noisy()
    mean = unet()(0.15 + 1.15e4 * u, 1.15e4)
    torch.testing.assert_close(model(u[:, None], 999).sample[:, 0], -(mean - 0.15) / 1.15, rtol=0, atol=2e-3)
    images = drawn(diffusers.DDIMPipeline(model, made))[:, 0]
    own = sample(unet(), ddim("v_prediction", **options), 3, steps=12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(images, ((own + 1) / 2.3).clamp(0, 1), rtol=0, atol=2e-3)
    back = from_diffusers(model, made, channel())
    assert sample(back, ddim("v_prediction", **options), 2, steps=4).isfinite().all()


def small_unet(channels, **options):
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [8]}
    made = diffusers.UNet2DModel(
        sample_size=4, in_channels=channels, out_channels=channels, layers_per_block=1, norm_num_groups=4, **blocks
    )
    return made.eval()


def test_models_of_colours_of_sequences_and_in_half_precision_are_denoisers():
    colours = from_diffusers(small_unet(3), ddim("epsilon"))
    assert colours.leaf_shape == (3, 4, 4) and sample(colours, "ddim", 2, steps=3).shape == (2, 3, 4, 4)
    over = hgm.Gaussian([[0.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    assert sample(from_diffusers(small_unet(3), ddim("epsilon"), over), "ddim", 2, steps=3).shape == (2, 3, 4, 4)
    half = from_diffusers(small_unet(1).half(), ddim("epsilon"))
    assert sample(half, "ddim", 2, steps=3).dtype == torch.float32
    line = diffusers.UNet1DModel(
        sample_size=32, in_channels=1, out_channels=1, extra_in_channels=64, block_out_channels=(32, 32, 64)
    )
    sequences = from_diffusers(line.eval(), ddim("epsilon"))
    assert sequences.leaf_shape == (32,) and sample(sequences, "ddim", 2, steps=3).shape == (2, 32)


def test_forms_of_input_of_a_model_of_diffusers():
    denoiser = from_diffusers(small_unet(1), ddim("epsilon"))
    with torch.no_grad():
        assert torch.equal(
            denoiser(torch.ones(2, 4, 4, dtype=torch.uint8), 0.5), denoiser(torch.ones(2, 4, 4), torch.full((2,), 0.5))
        )
    assert denoiser(torch.zeros(0, 4, 4), 0.5).shape == (0, 4, 4)


def nothing(z, sigma):
    return z * torch.nan if float(sigma[0]) < 0.9 else z


nothing.leaf_shape = (4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: as_diffusers(nothing, ddim())(noisy(2)[:, None], 1),
            "nothing gave NaN or infinity in a model of diffusers",
        ),
        (
            lambda: as_diffusers(unet(), ddim())(torch.ones(2, 1, 4, 4, dtype=torch.int64), 1),
            "the model takes floats .*int64",
        ),
        (lambda: as_diffusers(unet(), ddim())(noisy(2)[:, None], "last"), "the timestep must be"),
        (lambda: as_diffusers(unet(), ddim("flow_prediction")), "is of flow matching"),
        (
            lambda: as_diffusers(unet(), diffusers.DPMSolverMultistepScheduler(use_flow_sigmas=True)),
            "no alphas of its steps: it has use_flow_sigmas=True",
        ),
        (lambda: from_diffusers(small_unet(3), ddim(), channel()), "data with 3 channels; the values of .* have 1"),
        (lambda: from_diffusers(small_unet(1), ddim())(noisy(), float("nan")), "trained for noise of .* got nan"),
        (lambda: from_diffusers(small_unet(1), ddim())(noisy(), [0.5, 0.6]), "sigma must be a number"),
        (lambda: from_diffusers(small_unet(1), ddim())(noisy(), noisy().abs()), "sigma must be a number, or one per"),
        (lambda: from_diffusers(small_unet(1), ddim())(torch.tensor(3.0), 0.5), "a batch as its first axis"),
    ],
)
def test_more_that_would_go_wrong(call, message):
    with pytest.raises(hgm.HgmError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_model_is_told_the_time_of_the_noise():
    times = []

    def model(u, t, return_dict):
        times.extend(t.tolist())
        return (u,)

    denoiser = from_diffusers(model, ddim())
    ratio = (1 / ddim().alphas_cumprod.double() - 1).sqrt()
    z = noisy(4, dtype=torch.float32)
    denoiser(z, torch.stack([ratio[0], ratio[300], (ratio[500] * ratio[501]).sqrt(), ratio[999]]))
    assert times == pytest.approx([0, 300, 500.5, 999], abs=1e-3)
    for least in (denoiser.least, denoiser.most):
        assert denoiser(z, least).isfinite().all()


def test_values_that_are_equal_and_vectors_of_different_range():
    assert Scale.of(hgm.Gaussian([2.0, 2.0, 2.0])) == Scale((2.0,), 1.0)
    assert Scale.of(hgm.Gaussian([[0.0, 10.0], [1.0, -10.0]])) == Scale((0.5, 0.0), 10.0)
    flat = hgm.compile(tree(), "denoise", channel=hgm.Gaussian([2.0, 2.0, 2.0]))
    torch.testing.assert_close(sample(flat, "ddim", 2, steps=5), torch.full((2, 4, 4), 2.0))


def test_a_model_is_loaded_in_the_precision_that_is_asked_for(tmp_path):
    from hgm.diffusion.model import HgmModel

    as_diffusers(unet(), ddim()).save_pretrained(tmp_path)
    for dtype in (torch.float16, torch.float64):
        model = HgmModel.from_pretrained(tmp_path, torch_dtype=dtype)
        assert model.dtype == dtype and model.square.dtype == torch.float64
