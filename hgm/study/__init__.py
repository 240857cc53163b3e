"""Questions with a number for an answer, by name in `STUDIES`."""

from hgm.study import ablation as ablation  # registers itself
from hgm.study import relu as relu
from hgm.study import samplers as samplers
from hgm.study.registry import STUDIES, Study, study

__all__ = ["STUDIES", "Study", "study"]
