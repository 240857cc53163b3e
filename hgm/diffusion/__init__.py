"""Noise as a process: what is exact at every time, samplers, and how good their samples are.

==============================  ======================================================================================
`VariancePreserving`, ...       forward processes; also `VarianceExploding`, `RectifiedFlow`, `StochasticLocalisation`,
                                and for symbols `Masked` and `Uniform`
`convert`                       one prediction (x0, noise, v, score, velocity) from another
`Denoiser`, `guided`            the exact denoiser given evidence; one that a classifier leads to a label
`Exact`                         log p_t(z), score, covariance, posterior samples and entropies at every time
`sample`, `scheduler`           from noise to data, on the schedulers of diffusers
`schedule`                      how many symbols to unmask in each step, and what that costs in nats
`quality`                       how good samples are, exactly
`flow_log_prob`                 log likelihood by the probability flow, of any denoiser
`as_diffusers`                  a compiled network as a model of diffusers
`from_diffusers`                a model of diffusers as a denoiser
==============================  ======================================================================================
"""

from hgm.diffusion.bridge import as_diffusers, from_diffusers
from hgm.diffusion.denoiser import Denoiser
from hgm.diffusion.exact import Exact
from hgm.diffusion.flow import flow_log_prob
from hgm.diffusion.guidance import guided
from hgm.diffusion.prediction import convert
from hgm.diffusion.process import (
    Masked,
    RectifiedFlow,
    StochasticLocalisation,
    Uniform,
    VarianceExploding,
    VariancePreserving,
)
from hgm.diffusion.sampler import sample
from hgm.diffusion.schedulers import scheduler
from hgm.diffusion.step import Step
from hgm.diffusion.unmasking import Schedule, schedule
from hgm.measure.pearson import Measure
from hgm.measure.quality import Quality, quality

__all__ = [
    "Denoiser",
    "Exact",
    "Masked",
    "Measure",
    "Quality",
    "RectifiedFlow",
    "Schedule",
    "Step",
    "StochasticLocalisation",
    "Uniform",
    "VarianceExploding",
    "VariancePreserving",
    "as_diffusers",
    "convert",
    "flow_log_prob",
    "from_diffusers",
    "guided",
    "quality",
    "sample",
    "schedule",
    "scheduler",
]
