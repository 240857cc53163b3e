"""hgm: tree-structured graphical models, exact belief propagation, and the networks they compile to.

The public names, and where each comes from, stand in `__init__.pyi`; each is imported when it is first used.
"""

import lazy_loader

_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("hgm")
    if name == "plot":  # a module of a room that hands nothing on
        from hgm.viz import plot

        return plot
    return _imported(name)
