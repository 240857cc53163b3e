"""What the batteries share: running without pytest, and comparing with a message that says where."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["Battery", "assert_close"]


class Battery:
    """Tests that a subclass inherits once it supplies what they are about."""

    def run(self) -> None:
        """Every test of the battery, for use without pytest. Raises the first `AssertionError`."""
        for name in dir(self):
            if name.startswith("test_"):
                getattr(self, name)()


def assert_close(got: Tensor, want: Tensor, tolerance: float, what: str) -> None:
    """Raises `AssertionError`, saying by how much and where, unless |got - want| <= tolerance * max(1, |want|)."""
    if got.shape != want.shape:
        raise AssertionError(f"{what}: shape {tuple(got.shape)} instead of {tuple(want.shape)}")
    got, want = got.detach().double(), want.detach().double()
    error = ((got - want).abs() / want.abs().clamp_min(1.0)).nan_to_num(torch.inf, torch.inf)
    error = torch.where(got == want, 0.0, error)  # infinities that agree
    if error.numel() and float(error.max()) > tolerance:
        at = np.unravel_index(int(error.argmax()), error.shape)
        raise AssertionError(
            f"{what}: {float(got[at])} instead of {float(want[at])} at {tuple(int(i) for i in at)}: "
            f"off by {float(error.max()):.3g}, allowed {tolerance:.3g}; {int((error > tolerance).sum())} of "
            f"{error.numel()} entries are wrong"
        )
