"""Learning the potentials of a tree from data, by EM."""

from hgm.learn.em import Fit, fit

__all__ = ["Fit", "fit"]
