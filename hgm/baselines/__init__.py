"""Networks of every kind, to hold against the optimum, by name: of equal parameters or equal compute.

===================  =================================================================================================
`make`               a network for the leaves of a tree, of about so many parameters, or so many multiply-adds
`names`              what there is; `BASELINES` says of each in one line what it is
`describe`           parameters and multiply-adds of any of them, or of any network that `hgm.compile` made
`baseline`           enters a network of your own: a function of a `Problem` and a width; `Framed` goes around it
===================  =================================================================================================
"""

from hgm.baselines import convolution as convolution  # these register themselves
from hgm.baselines import free as free
from hgm.baselines import standard as standard
from hgm.baselines import transformer as transformer
from hgm.baselines import unet as unet
from hgm.baselines.framed import Framed
from hgm.baselines.problem import Problem
from hgm.baselines.registry import BASELINES, Baseline, baseline, names
from hgm.baselines.sized import make
from hgm.baselines.sizes import describe

__all__ = ["BASELINES", "Baseline", "Framed", "Problem", "baseline", "describe", "make", "names"]
