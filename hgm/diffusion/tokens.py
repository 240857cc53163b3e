"""diffusers' schedulers of discrete data: what each must be handed, and when its samples are right.

=========================  ============================================================================================
`DiscreteDDIMScheduler`    uniform diffusion, by the kernel of `unflip`: right with many steps. It takes the plain
                           posterior, and makes what it needs of it itself. Its corrector keeps the law only with
                           ``corrector_selection="random"``: the others look at the symbols they are to replace.
`VQDiffusionScheduler`     masks, and replaces: right with many steps.
`EntropyBoundScheduler`    accepts the positions of least entropy, up to a bound: exact with a bound of 0,
                           ``t_min=t_max=1`` and as many steps as leaves; with fewer, noise may be left.
`AmusedScheduler`          unmasks the symbols that came out likeliest, or, the higher its temperature, any. With few
                           steps or low temperatures too many samples are likely ones.
`BlockRefinementScheduler` unmasks the symbols that came out likeliest: too many samples are likely ones.
=========================  ============================================================================================

The last two choose positions by the symbols that were drawn there, so what `hgm.diffusion.schedule` says is not about
them. Schedulers of masked diffusion ask ``denoiser(z)``, those of uniform diffusion ``denoiser(z, eps)``, where z holds
-1 for what says nothing.

`EntropyBoundScheduler` has no mask: what it does not accept it draws anew, uniformly, and it does not say to the model
which is which. Given that, the right posterior is that of the accepted symbols alone; so they are remembered here, and
the others are shown to the denoiser as hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hgm.diffusion.ancestral import PosteriorOf, checked_posterior
from hgm.diffusion.process import Masked, Process, Uniform
from hgm.errors import BadSpec, brief
from hgm.evidence.symbols import MISSING

__all__ = ["TOKENS", "Driver", "Run", "driver_of"]


@dataclass(frozen=True)
class Run:
    """A run of a scheduler: what a driver is given.

    Attributes:
        denoiser: ``denoiser(z)`` or ``denoiser(z, eps)``, leaf posteriors ``(B, S, *leaf shape)``.
        scheduler: one of diffusers', with its timesteps set.
        shape: ``(B, *leaf shape)``.
        states: S.
        generator: source of randomness; ``None`` for torch's global one.
        device: where it runs.
    """

    denoiser: PosteriorOf
    scheduler: Any
    shape: tuple[int, ...]
    states: int
    generator: torch.Generator | None = None
    device: torch.device | str = "cpu"

    def masks(self) -> Tensor:
        """``(B, n)`` the symbol S, which schedulers take for a mask, everywhere."""
        return torch.full(self.shape, self.states, device=self.device).flatten(1)

    def noise(self) -> Tensor:
        """``(B, n)`` uniform symbols."""
        return torch.randint(self.states, self.shape, generator=self.generator, device=self.device).flatten(1)

    def seen(self, z: Tensor) -> Tensor:
        """``(B, *leaf shape)`` the symbols, -1 where masked."""
        return torch.where(z == self.states, MISSING, z).view(self.shape)

    def log_posterior(self, z: Tensor, *noise: Any, step: int) -> Tensor:
        """``(B, S, n)`` of symbols ``(B, n)``, S or -1 where hidden; float32, -inf where impossible."""
        p = checked_posterior(self.denoiser, self.seen(z), noise, step, self.states)
        return p.flatten(2).log().float()

    def logits(self, z: Tensor, *noise: Any, step: int) -> Tensor:
        """``(B, n, S)``, as most schedulers take them."""
        return self.log_posterior(z, *noise, step=step).transpose(1, 2).contiguous()


@dataclass(frozen=True)
class Driver:
    """How a scheduler is driven.

    Attributes:
        process: `Masked` or `Uniform`: through which channel its denoiser sees, `Erasure` or `Flip`.
        steps: a generator of the state ``(B, *leaf shape)`` after each step, -1 where masked.
    """

    process: Process
    steps: Callable[[Run], Iterator[Tensor]]


def driver_of(scheduler: Any) -> Driver:
    """The driver of a scheduler. Raises `BadSpec` if there is none for its class."""
    for kind in type(scheduler).__mro__:
        if kind.__name__ in TOKENS:
            return TOKENS[kind.__name__]
    raise BadSpec(f"a scheduler of discrete data is one of {', '.join(TOKENS)}; got {brief(scheduler)}")


def _discrete_ddim(run: Run) -> Iterator[Tensor]:
    """At step i of N a symbol is kept with probability alpha = i / N, else drawn anew: eps = (1 - alpha)(S - 1)/S."""
    scheduler, z, total = run.scheduler, run.noise(), len(run.scheduler.timesteps)

    def logits(done: int, step: int) -> Tensor:
        (eps,) = Uniform().noise(1 - done / total, run.states)
        return run.logits(z, float(eps), step=step)

    for step in range(total):
        z = scheduler.step(logits(step, step), step, z, temperature=1.0, generator=run.generator).prev_sample
        if step + 1 < total:  # clean symbols need no correction
            for _ in range(scheduler.config.corrector_steps):
                z = scheduler.step_correct(logits(step + 1, step), step, z, generator=run.generator).prev_sample
        yield run.seen(z)


def _vq_diffusion(run: Run) -> Iterator[Tensor]:
    """Unless masked, at time t a symbol is kept with probability a + b, and is each other one with b."""
    scheduler = run.scheduler
    if scheduler.num_embed != run.states + 1:
        raise BadSpec(
            f"VQDiffusionScheduler must have num_vec_classes={run.states + 1}, the states and the mask; "
            f"it has {scheduler.num_embed}"
        )
    trained = scheduler.config.num_train_timesteps
    if len(scheduler.timesteps) != trained:
        raise BadSpec(
            f"VQDiffusionScheduler begins {len(scheduler.timesteps)} of its {trained} steps where data are not all "
            f"noise; make it with num_train_timesteps={len(scheduler.timesteps)}"
        )
    a, b, c = (
        log.double().exp() for log in (scheduler.log_cumprod_at, scheduler.log_cumprod_bt, scheduler.log_cumprod_ct)
    )
    uniform = torch.rand(run.shape, generator=run.generator, device=run.device).flatten(1)
    z = torch.where(uniform < c[trained - 1], run.masks(), run.noise())  # what a = 0 makes of data
    for step, t in enumerate(scheduler.timesteps.tolist()):
        others = (run.states - 1) * b[t]
        log_p = run.log_posterior(z, float(others / (a[t] + b[t] + others)), step=step)
        z = scheduler.step(log_p, t, z, generator=run.generator).prev_sample
        yield run.seen(z)


def _entropy_bound(run: Run) -> Iterator[Tensor]:
    z = torch.full_like(run.noise(), MISSING)
    for step in range(len(run.scheduler.timesteps)):
        done = run.scheduler.step(run.logits(z, step=step), step, z, generator=run.generator)
        z = torch.where(done.accepted_index, done.prev_sample, MISSING)
        yield run.seen(done.prev_sample)


def _amused(run: Run) -> Iterator[Tensor]:
    scheduler, z = run.scheduler, run.masks()
    _check_mask(scheduler.config.mask_token_id, run)
    if scheduler.timesteps is None:
        raise BadSpec("AmusedScheduler has no timesteps yet: call its set_timesteps(steps, temperature=...)")
    for step, t in enumerate(scheduler.timesteps):
        z = scheduler.step(run.logits(z, step=step), t, z, generator=run.generator).prev_sample
        yield run.seen(z)


def _block_refinement(run: Run) -> Iterator[Tensor]:
    scheduler, z = run.scheduler, run.masks()
    scheduler.set_timesteps(scheduler.num_inference_steps, block_length=z.shape[1])
    for step in range(len(scheduler.timesteps)):
        z = scheduler.step(
            run.logits(z, step=step),
            step,
            z,
            mask_token_id=run.states,
            temperature=1.0,
            sampling_method="multinomial",
            generator=run.generator,
        ).prev_sample
        yield run.seen(z)


def _check_mask(given: Any, run: Run) -> None:
    if given != run.states:
        raise BadSpec(
            f"the mask must be the symbol after the last state, mask_token_id={run.states}; got {brief(given)}"
        )


#: by the name of the scheduler's class
TOKENS: dict[str, Driver] = {
    "AmusedScheduler": Driver(Masked(), _amused),
    "BlockRefinementScheduler": Driver(Masked(), _block_refinement),
    "DiscreteDDIMScheduler": Driver(Uniform(), _discrete_ddim),
    "EntropyBoundScheduler": Driver(Masked(), _entropy_bound),
    "VQDiffusionScheduler": Driver(Uniform(), _vq_diffusion),
}
