"""Reference inference: exact belief propagation on any `Tree`, in the log domain and float64.

Two passes over the levels of the tree, no recursion: `collect` from the leaves to the roots, `distribute` back. With a
sum in them they give the partition function and all marginals, with a maximum the mode. It is slow and clear on
purpose: the compiled networks are held against it, so it shares no code with them.
"""

from hgm.bp.passes import Collected, Distributed, collect, distribute, log_partition
from hgm.bp.posterior import Assignment, Mode, Posterior, infer, log_likelihood
from hgm.bp.score import log_score

__all__ = [
    "Assignment",
    "Collected",
    "Distributed",
    "Mode",
    "Posterior",
    "collect",
    "distribute",
    "infer",
    "log_likelihood",
    "log_partition",
    "log_score",
]
