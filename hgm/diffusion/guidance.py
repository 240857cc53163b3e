"""Classifier guidance: a denoiser that leans to a label, by the gradient of a classifier's log posterior.

    score(z) + w grad_z log p(y | z)          so in means          D(z) + w sigma^2 / alpha grad_z log p(y | z)

At w = 1 this is conditioning: grad log p(y | z) is the difference of the scores with and without y. Dhariwal, Nichol,
arXiv 2105.05233. At other strengths it is in general the score of no noised distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hgm.diffusion.denoiser import Denoiser, differentiable, with_rows
from hgm.diffusion.step import callable_as
from hgm.errors import BadEvidence, HgmError, ImpossibleEvidence, brief, extension, listing
from hgm.evidence.column import column_of
from hgm.evidence.noise import along, as_noise
from hgm.evidence.symbols import as_tensor
from hgm.networks.heads import ConvNet
from hgm.tree.arguments import number

__all__ = ["Guided", "guided"]


def guided(
    denoiser: Callable[..., Tensor], classifier: Callable[..., Tensor], label: Any, strength: float = 1.0
) -> Guided:
    """A denoiser led to a label by a classifier.

        cnn = hgm.compile(tree, "classify", channel=channel)
        hgm.diffusion.sample(hgm.diffusion.guided(unet, cnn, label=3, strength=2.0), "ddim", 16)

    Args:
        denoiser: ``f(z, sigma)``, such as a compiled U-Net.
        classifier: ``f(z, sigma)`` for the same noise: a compiled `ConvNet`, or a network of your own that gives logits
            ``(B, S)``.
        label: one for all rows, or one for each: labels of the ConvNet's variable, or numbers of states.
        strength: w: 0 for none, 1 for conditioning.

    Raises:
        BadSpec: for a strength that is no finite number, or what cannot be called.
        BadEvidence: for an unknown label.
    """
    callable_as("the denoiser", denoiser)
    callable_as("the classifier", classifier)
    strength = number(strength, "strength must be a finite number", lambda w: abs(w) < torch.inf)
    if isinstance(classifier, ConvNet):
        states = column_of(classifier.plan.tree, int(classifier.query[0]), label)
    else:
        states = as_tensor(label, "label")
    if states.ndim > 1 or states.is_floating_point() or bool((states < 0).any()):
        raise BadEvidence(f"label must be one label, or one for each row; got {brief(label)}")
    return Guided(denoiser, classifier, states.long(), strength)


class Guided(nn.Module):
    """What `guided` makes: ``f(z, sigma, alpha=1)``, a mean in the shape of z.

    Attributes:
        states: ``()`` or ``(B,)`` the labels, as numbers.
        denoiser, classifier, strength: as given.
    """

    states: Tensor

    def __init__(self, denoiser: Any, classifier: Any, states: Tensor, strength: float) -> None:
        super().__init__()
        self.denoiser, self.classifier, self.strength = denoiser, classifier, strength
        self.register_buffer("states", states.clone())
        for name in ("channel", "leaf_shape"):
            if hasattr(denoiser, name):
                setattr(self, name, getattr(denoiser, name))

    def rows(self, part: slice) -> Guided:
        """The same for some rows of the labels; of one label itself."""
        denoiser = self.denoiser.rows(part) if isinstance(self.denoiser, Denoiser | Guided) else self.denoiser
        return Guided(denoiser, self.classifier, self.states[part] if self.states.ndim else self.states, self.strength)

    def forward(self, z: Any, sigma: Any, alpha: Any = 1.0) -> Tensor:
        """``(B, *leaf shape)`` the denoiser's mean, led to the label.

        Raises:
            BadEvidence: for a classifier without that label, or other rows than there are labels.
            ImpossibleEvidence: where the classifier excludes the label.
            HgmError: if the classifier fails, gives NaN, or has no derivative.
        """
        z = with_rows(z)
        z = z if z.is_floating_point() else z.to(torch.get_default_dtype())
        more = () if isinstance(alpha, float) and alpha == 1.0 else (alpha,)
        mean: Tensor = self.denoiser(z, sigma, *more)
        if not len(z):
            return mean
        with differentiable(z) as x:
            log_p = self._log_posterior(x, sigma, *more)
            with extension("the classifier, which must be differentiable,"):
                (slope,) = torch.autograd.grad(log_p.sum(), x)
        a, s = (along(as_noise(value, z, name), z) for value, name in ((alpha, "alpha"), (sigma, "sigma")))
        return mean + self.strength * s.square() / a * slope

    def _log_posterior(self, z: Tensor, *noise: Any) -> Tensor:
        """``(B,)`` of the label."""
        if isinstance(self.classifier, ConvNet):
            logs = self.classifier(z, *noise, outputs="log_posterior")
        else:
            with extension("the classifier"):
                logs = torch.log_softmax(self.classifier(z, *noise), 1)
        states = self.states
        if logs.ndim != 2 or len(logs) != len(z) or (states.numel() and int(states.max()) >= logs.shape[1]):
            raise BadEvidence(f"a classifier gives logits ({len(z)}, S) of all labels; got {tuple(logs.shape)}")
        if states.ndim and len(states) != len(z):
            raise BadEvidence(f"there are {len(states)} labels, but {len(z)} rows")
        own = logs.gather(1, states.expand(len(z))[:, None])[:, 0]
        if bool(own.isnan().any()):
            raise HgmError(f"the classifier gave NaN in batch rows {listing(own.isnan().nonzero().flatten().tolist())}")
        if bool(own.isneginf().any()):
            raise ImpossibleEvidence(own.isneginf().nonzero().flatten().tolist(), "(the label cannot be)")
        return own
