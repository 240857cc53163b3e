"""What networks ask of the C library, once."""

import torch

__all__ = ["keep_freed_memory"]


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next forward instead of handing it back to the system.

    glibc raises its threshold for that when a large block is freed. Without this, a forward of some megabytes spends
    most of its time on page faults. The block is never touched, so this costs microseconds and no memory.
    """
    torch.empty(31 << 20, dtype=torch.uint8)
