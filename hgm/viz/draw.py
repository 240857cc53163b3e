"""Pictures of trees and networks as plain matplotlib figures, to be shown, changed or saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from hgm.bp.posterior import Posterior
from hgm.errors import BadSpec
from hgm.networks.network import Network
from hgm.tree.arguments import choice
from hgm.tree.tree import Tree
from hgm.viz.beliefs import beliefs_of
from hgm.viz.levels import draw_levels
from hgm.viz.network import draw_stages
from hgm.viz.nodes import draw_nodes
from hgm.viz.places import shown_levels
from hgm.viz.planes import draw_planes, has_planes
from hgm.viz.style import check_picture_name, require_matplotlib, save_figure

if TYPE_CHECKING:
    from hgm.viz.drawing import Drawing

__all__ = ["draw"]

Style = Literal["auto", "nodes", "planes", "levels"]


def draw(
    what: Tree | Network | Posterior, path: str | os.PathLike[str] | None = None, *, style: Style = "auto"
) -> Drawing:
    """A picture of a tree, a posterior, or the network that a tree was compiled to. In a notebook it shows itself.

    **A tree**: its levels, variables and factors, with one colour for each tied potential. Circles are variables, grey
    ones leaves; squares, diamonds and hexagons are factors over two variables, joint tables and rules; triangles are
    factors over one variable. A potential that is used once is grey.

    **A network**, as the U-Net paper draws one: down the encoder, up the decoder, skips across. A box is a tensor:
    above it the number of states (channels), below it the number of positions. Of deep networks the middle stages are
    left out.

    **A posterior**: its tree, with a bar for each state in every variable, orange where there is evidence, and the
    likeliest state with its probability. Of several rows of evidence the first.

    Letters are read on a screen if the picture is 700 pixels wide or more. An SVG follows a page's dark colours.

    Args:
        what: any tree or forest, a network as `hgm.compile` returns it, or a posterior as `hgm.infer` does.
        path: a .svg, .png or .pdf file to write; an existing one is replaced.
        style: of a tree: ``"nodes"`` draws every variable (up to some 300; the middle of a chain or another deep and
            narrow tree is left out), ``"planes"`` a layered model on a 2-D grid as a stack of planes, ``"levels"`` one
            bar for each level, for trees of any size. ``"auto"`` takes planes for grids, else nodes if there are not
            too many.

    Raises:
        BadSpec: for a style that does not fit the tree, another object, another ending, or a file that cannot be
            written.
        HgmError: if matplotlib is not installed.
    """
    require_matplotlib()
    if path is not None:
        check_picture_name(path)
    if isinstance(what, Posterior):
        figure = _posterior(what)
    else:
        figure = _tree(what, style) if isinstance(what, Tree) else draw_stages(what)
    if path is not None:
        save_figure(figure, path)
    return figure


def _posterior(posterior: Posterior) -> Drawing:
    if shown_levels(posterior.tree) is None:
        raise BadSpec(
            f"a posterior of {len(posterior.tree):,} variables is too large for bars in its nodes; "
            "hgm.plot.posterior draws those of some variables"
        )
    return draw_nodes(posterior.tree, beliefs_of(posterior))


def _tree(tree: Tree, style: Style) -> Drawing:
    choice("style", style, ("auto", "nodes", "planes", "levels"))
    if style == "auto":
        style = "planes" if has_planes(tree) else "levels" if shown_levels(tree) is None else "nodes"
    if style == "nodes" and shown_levels(tree) is None:
        raise BadSpec(f"a tree of {len(tree):,} variables is too large for style 'nodes'; use 'levels'")
    if style == "planes" and not has_planes(tree):
        raise BadSpec("style 'planes' is for layered models on a 2-D grid with at least two levels below the root")
    return {"nodes": draw_nodes, "planes": draw_planes, "levels": draw_levels}[style](tree)
