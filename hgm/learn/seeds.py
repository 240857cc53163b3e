"""Randomness as a function of the seed, of what is drawn, and of when: step 7 draws the same whatever was drawn before.

So a run that goes on from a checkpoint needs no state of any generator.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import torch

__all__ = ["Drawn", "generator_for", "seed_for"]

Drawn = Literal["sample", "rows", "noise", "network", "held out", "held-out noise"]


def seed_for(seed: int, what: Drawn, number: int = 0) -> int:
    """A seed for torch, unlike that of any other `what` and `number`: by a hash, which takes a microsecond."""
    return int.from_bytes(blake2b(f"{seed} {what} {number}".encode(), digest_size=8).digest(), "little")


def generator_for(seed: int, what: Drawn, number: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of this seed."""
    return torch.Generator(device).manual_seed(seed_for(seed, what, number))
