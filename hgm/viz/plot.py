"""Plots of what was inferred, learned, proved and measured: `hgm.plot`.

Each gives a matplotlib figure that shows itself in a notebook, to be changed or saved. Colours are told apart by
colour-blind readers, and each line has a marker of its own.
"""

from hgm.viz.charts import certificate, images, posterior
from hgm.viz.curves import ablations, gap, training

__all__ = ["ablations", "certificate", "gap", "images", "posterior", "training"]
