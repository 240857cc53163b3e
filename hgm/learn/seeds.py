"""Randomness as a function of the seed, of what is drawn, and of when: step 7 draws the same whatever was drawn before.

So a run that goes on from a checkpoint needs no state of any generator.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

__all__ = ["Drawn", "generator_for", "seed_for"]

Drawn = Literal["sample", "rows", "noise", "network", "held out", "held-out noise"]
CODES: dict[Drawn, int] = {
    "sample": 0,
    "rows": 1,
    "noise": 2,
    "network": 3,
    "held out": 4,
    "held-out noise": 5,
}


def seed_for(seed: int, what: Drawn, number: int = 0) -> int:
    """A seed for torch, of numbers that are independent of those of any other `what` and `number`."""
    return int(np.random.SeedSequence([seed, CODES[what], number]).generate_state(1, np.uint64)[0])


def generator_for(seed: int, what: Drawn, number: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of this seed."""
    return torch.Generator(device).manual_seed(seed_for(seed, what, number))
