"""`explore`: one page, complete in itself, on which a tree and its network answer questions about each other."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgm.bp.posterior import infer
from hgm.errors import BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Clamp, Gaussian
from hgm.files.whole import checked_ending, write_whole
from hgm.measure.snr import stream
from hgm.networks.compile import bound_channel, compile
from hgm.tree.arguments import flag
from hgm.tree.tree import Tree, checked_tree
from hgm.viz.explorer.bundle import bundled
from hgm.viz.explorer.costs import cost_facts
from hgm.viz.explorer.facts import tree_facts
from hgm.viz.explorer.network import network_facts

__all__ = ["Page", "explore"]

MOST = 10_000  # variables of a tree, which the page computes with at every move
ENTRIES = 500_000  # of all its tables
DEEPEST = 64  # levels of a tree whose costs are measured
START = 0.5  # the noise at first, in distances of two values


@dataclass(frozen=True, repr=False)
class Page:
    """An HTML page that needs nothing but a browser. In a notebook it shows itself.

    Attributes:
        html: its text.
        title: one line about it.
    """

    html: str
    title: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page as an .html file. Raises `BadSpec` for another ending, or a place that cannot be written."""
        write_whole(checked_page_name(path), self.html.encode())

    def _repr_html_(self) -> str:
        style = "width:100%;height:52rem;border:0"
        return f'<iframe title="{html.escape(self.title)}" style="{style}" srcdoc="{html.escape(self.html)}"></iframe>'

    def __repr__(self) -> str:
        return f"Page: {self.title} ({len(self.html.encode()) / 1e6:.2f} MB)"


def checked_page_name(path: str | os.PathLike[str]) -> Path:
    """The path of a page. Raises `BadSpec` for an ending that no page has."""
    return checked_ending(path, "a page", (".html", ".htm"))


def explore(
    tree: Tree,
    path: str | os.PathLike[str] | None = None,
    *,
    channel: Channel | None = None,
    costs: bool = True,
) -> Page:
    """A page to explore a tree beside the network that it was compiled to. It works offline, in any browser.

        hgm.explore(tree, "page.html")

    On the left the tree, its leaves on top, on the right the network as a U. A block lights up the variables that it
    computes, a variable the blocks that compute it; a slider steps the messages of one observation through collect and
    distribute, and the reader changes that observation. The page computes every message itself, in float64.

    Where leaves have Gaussian noise, a slider of the noise shows at which level the posterior flips. If they are on a
    grid, too, skips, levels and the noise as an input can be deleted: what that costs is measured when the page is
    written, by `hgm.ablate` and `hgm.compare`. That takes most of the time, some 5 seconds for 300 variables.

    Args:
        tree: any tree or forest; levels and variables that have no room on the screen are folded.
        path: an .html file to write; an existing one is replaced.
        channel: how the leaves are observed: `Gaussian`, with one value for each state, or `Clamp`, symbols that can be
            set, blurred and erased. Default: `Gaussian()`, of the values 0 to S - 1, on a grid, and `Clamp` elsewhere.
        costs: whether to measure what deletions cost, where that can be: also not in trees of more than 64 levels.

    Returns:
        The page, which shows itself in a notebook and has ``save(path)``.

    Raises:
        BadSpec: for another channel or file, a file that cannot be written, and a tree that is too large for a page.
        BadEvidence: for a channel with values for another number of states.
        ImpossibleEvidence: if the model allows nothing at all.
    """
    checked_tree(tree)
    flag("costs", costs)
    if path is not None:
        checked_page_name(path)
    entries = sum(potential.size for potential in tree.potentials)
    if len(tree) > MOST or entries > ENTRIES:
        raise BadSpec(
            f"a page holds at most {MOST:,} variables, and tables of {ENTRIES:,} entries; this tree has {len(tree):,} "
            f"variables and {entries:,} entries. hgm.draw draws trees of any size"
        )
    channel = _bound(tree, channel)
    network = compile(tree, "denoise" if isinstance(channel, Gaussian) else "posterior", channel=channel)
    facts: dict[str, Any] = {
        "tree": tree_facts(tree),
        "network": network_facts(network.plan),
        "costs": None,
    }
    if costs and isinstance(channel, Gaussian) and tree.grid is not None and 0 < tree.depth <= DEEPEST:
        facts["costs"] = cost_facts(tree, channel)
    facts["example"] = _example(tree, channel, facts["costs"])
    page = Page(bundled(facts), facts["tree"]["title"])
    if path is not None:
        page.save(path)
    return page


def _bound(tree: Tree, channel: Channel | None) -> Gaussian | Clamp:
    """The channel, for the leaves of the tree."""
    if channel is None:
        channel = Clamp() if tree.grid is None else Gaussian()
    if not isinstance(channel, Gaussian | Clamp):
        raise BadSpec(f"the explorer shows leaves through hgm.Gaussian or hgm.Clamp; got {brief(channel)}")
    bound = bound_channel(channel, int(tree.cardinality[tree.leaves].max()))
    assert isinstance(bound, Gaussian | Clamp)
    if isinstance(bound, Gaussian) and bound.table().ndim != 1:
        raise BadSpec("the explorer shows leaves with one value for each state; this channel's values are vectors")
    return bound


def _example(tree: Tree, channel: Gaussian | Clamp, costs: dict[str, Any] | None) -> dict[str, Any]:
    """What the page shows at first: a sample of the tree, and noise, of which the page's slider says how much."""
    x = infer(tree).sample(1, generator=stream(0, "the page's sample")).states[0].numpy()
    example: dict[str, Any] = {"symbols": x[tree.leaves].tolist(), "values": None, "noise": [], "sigmas": []}
    if isinstance(channel, Gaussian):
        values = channel.table().double().numpy()
        apart = np.ptp(values) / max(len(np.unique(values)) - 1, 1) or 1.0  # two neighbouring values, on average
        sigmas = apart * 2.0 ** np.arange(-4, 4.25, 0.25) if costs is None else np.array(costs["noise"][::-1])
        noise = np.random.default_rng(0).standard_normal(len(tree.leaves)).round(3)
        start = int(np.abs(np.log(sigmas / (START * apart))).argmin())
        example |= {"values": values.tolist(), "noise": noise.tolist(), "sigmas": sigmas.tolist(), "start": start}
    return example
