"""Questions with a number for an answer, by name in `STUDIES`."""

from hgm.study import ablation as ablation  # these register themselves
from hgm.study import local_samples as local_samples
from hgm.study import relu as relu
from hgm.study import sample_complexity as sample_complexity
from hgm.study import samplers as samplers
from hgm.study import why_unet as why_unet
from hgm.study.registry import STUDIES, Study, study

__all__ = ["STUDIES", "Study", "study"]
