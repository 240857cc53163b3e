"""The demonstration: handwritten digits learned, compiled, classified, denoised and drawn anew, with a report.

`run` needs scikit-learn (the images, and baselines), matplotlib and jinja2; this module itself imports none of them.
"""

from hgm.demo.digits import Settings
from hgm.demo.run import SIGMAS, Results, run

__all__ = ["SIGMAS", "Results", "Settings", "run"]
