"""When a network says that there is no answer: at once, for which it must wait for the device, or when it is asked."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

from hgm.compiler.engine import Engine
from hgm.evidence.ambient import Check, checked_check, checking

__all__ = ["Checked"]


class Checked(nn.Module):
    """The part of a network that looks whether there was an answer.

    Attributes:
        check: when it looks, if a call does not say it: ``"now"``, ``"later"`` or ``False``.
    """

    engine: Engine
    check: Check = "now"

    def throw(self) -> None:
        """Wait for all calls with ``check="later"`` since the last look, and raise what was found: as in checkify.

        Batch rows are those of any of these calls. A loop over batches does this once, at its end:

            for z in batches:
                ... net(z, check="later") ...
            net.throw()

        Raises:
            BadPotential, BadEvidence, ImpossibleEvidence: as of a call that looks.
            Uncertifiable: for evidence that the certificate of a ReLU network does not cover.
        """
        self.engine.deferred.throw(self.engine.check_weights)

    def _checking(self, check: Check | None) -> AbstractContextManager[None]:
        """Around a call. One that looks begins with what earlier ones have left for later."""
        check = checked_check(self.check if check is None else check)
        if check == "now" and not torch.compiler.is_compiling():
            self.throw()
        return checking(check)
