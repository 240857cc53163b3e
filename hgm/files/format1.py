"""Network files of format 1, which knew fewer kinds of everything, as files of the present format."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from torch import Tensor

__all__ = ["upgraded"]


def upgraded(old: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors in format 2. What raises on the way (`KeyError`, `TypeError`, ...) is no file of format 1."""
    header = {key: value for key, value in old.items() if key not in ("network", "mean")}
    classifies = old["network"].removeprefix("Relu") == "ConvNet"
    header |= {
        "format": 2,
        "task": "classify" if classifies else "denoise" if old["mean"] else "posterior",
        "schedule": "levels",
        "channel": _channel(old["channel"]),
    }
    potentials = []
    for i, entry in enumerate(old["tree"]["potentials"]):
        rules = tensors.get(f"tree.rules.{i}")
        size = len(rules) if rules is not None else prod(entry["shape"])
        potentials.append({**entry, "size": size, "parts": [] if rules is None else ["states"]})
    header["tree"] = {**old["tree"], "potentials": potentials}
    return header, {_name(name): tensor for name, tensor in tensors.items() if name != "state.input_mask"}


def _channel(old: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": old["kind"].lower()} | ({"of": _channel(old["of"])} if old.get("of") else {})


def _name(old: str) -> str:
    if old.startswith("tree.rules."):
        return old.replace("rules", "potential", 1) + ".states"
    return old if not old.startswith("state.") or old.startswith("state.channel.") else f"state.engine.{old[6:]}"
