"""Named ensembles of trees, each a function that returns a `Tree`.

==========================  ==========================================================================================
`random_ghm`                layered, potentials log-uniform in [1/K, K] (the bounded case of arXiv 2404.18444)
`rhm`                       Random Hierarchy Model (Cagnetta et al., arXiv 2307.02129): production rules, hard zeros
`filtered_hierarchy`        hierarchy whose upper levels are filtered out (Garnier-Brun et al., arXiv 2408.15138)
`broadcast`                 a symmetric channel on every edge of a regular tree
`chain`, `hmm`              Markov chain; hidden Markov model, one transition and one emission for all times
`hidden_markov_tree`        a hidden tree with one observation for each node (Crouse et al., 1998)
`caterpillar`, `star`       a spine with legs; one root with many leaves (naive Bayes)
`random_tree`, `forest`     irregular, mixed cardinalities, joint factors and zeros on request
==========================  ==========================================================================================

What is random is drawn with ``numpy.random.default_rng(seed)``: the same arguments give the same tree.
"""

from hgm.zoo.irregular import forest, random_tree
from hgm.zoo.layered import broadcast, filtered_hierarchy, random_ghm, rhm, star
from hgm.zoo.sequential import caterpillar, chain, hidden_markov_tree, hmm

__all__ = [
    "broadcast",
    "caterpillar",
    "chain",
    "filtered_hierarchy",
    "forest",
    "hidden_markov_tree",
    "hmm",
    "random_ghm",
    "random_tree",
    "rhm",
    "star",
]
