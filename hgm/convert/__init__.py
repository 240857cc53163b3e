"""Converters between `Tree` and the models of other libraries, each of which is imported only when it is used."""

from hgm.convert.networkx import from_networkx, to_networkx, variable_graph
from hgm.convert.pgmpy import from_pgmpy, to_pgmpy

__all__ = ["from_networkx", "from_pgmpy", "to_networkx", "to_pgmpy", "variable_graph"]
