"""What a network is for: the leaves of a tree, seen through a channel, and a task."""

from __future__ import annotations

from dataclasses import dataclass

from hgm.diffusion.scale import components, row_shape
from hgm.errors import BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Erasure, Flip, Gaussian
from hgm.networks.compile import TASKS, Task
from hgm.tree.arguments import choice, whole
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Problem"]


@dataclass(frozen=True, eq=False)
class Problem:
    """The question that networks answer, each in its own way.

    Attributes:
        tree: the model. Only the compiled networks know more of it than the shape of its leaves.
        channel: how the leaves are observed: `Gaussian`, `Flip` or `Erasure`; here it gets their number of states.
        task: ``"denoise"``: E[x | z]; ``"posterior"``: probabilities of each leaf's states; ``"classify"``: of the
            root's.

    Raises:
        BadSpec: for what is no tree, a channel that these networks do not read, or a task that it has no answer to.
        BadEvidence: for a channel with values for another number of states.
    """

    tree: Tree
    channel: Channel
    task: Task = "denoise"

    def __post_init__(self) -> None:
        tree, channel = checked_tree(self.tree), self.channel
        choice("task", self.task, TASKS)
        if not isinstance(channel, Gaussian | Flip | Erasure):
            raise BadSpec(
                "these networks read values through hgm.Gaussian(...), or symbols through hgm.Flip() or hgm.Erasure(); "
                f"the channel is {brief(channel)}"
            )
        if self.task == "denoise" and channel.reads_symbols:
            raise BadSpec(
                f"a denoiser gives means of values, as of hgm.Gaussian(...); {type(channel).__name__} is a channel of "
                "symbols: use task='posterior'"
            )
        object.__setattr__(self, "channel", channel.bound(int(tree.cardinality[tree.leaves].max())))

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        """``(n,)`` or ``(H, W)``."""
        return self.tree.leaf_shape

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one observation."""
        return row_shape(self.leaf_shape, self.channel)

    @property
    def states(self) -> int:
        """S of the leaves."""
        return len(self.channel.table())

    @property
    def inputs(self) -> int:
        """Numbers at each leaf that a network sees: 1, k of vectors, S of symbols, which are shown one-hot."""
        return self.states if self.channel.reads_symbols else components(self.channel) or 1

    @property
    def outputs(self) -> int:
        """Numbers at each leaf that it gives: means, or logits of the leaf's states, or of the root's."""
        if self.task == "denoise":
            return components(self.channel) or 1
        return self.states if self.task == "posterior" else int(self.tree.cardinality[self.tree.roots[0]])

    @property
    def axes(self) -> int:
        """1 or 2: of a sequence, or an image.

        Raises:
            BadSpec: for leaves that lie in more than two dimensions.
        """
        if len(self.leaf_shape) > 2:
            raise BadSpec(
                f"convolutions and transformers here are of sequences (n,) and images (H, W); the leaves are "
                f"{self.leaf_shape}: use a compiled network"
            )
        return len(self.leaf_shape)

    def levels(self, most: int = 4, stride: int = 2) -> int:
        """Resolutions of a U-Net: as long as the shorter side, divided by the stride, is at least 2; `most` at most."""
        whole("most", most, 1)
        whole("stride", stride, 2)
        return max(1, sum(min(self.leaf_shape) // stride**level >= 2 for level in range(most)))
