"""The BEAGLE library of phylogenetics (native code with SSE), through ctypes, where it happens to be installed.

On Debian it is the package ``libhmsbeagle1v5``. It is a peer of W8 only; nothing else needs it.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library

import numpy as np
from _likelihood import LEAVES, postorder
from _models import Edges

__all__ = ["Beagle", "found"]

SINGLE, SCALERS_LOG, SSE, CPU = 1 << 0, 1 << 10, 1 << 11, 1 << 15
NONE = -1


class _Details(ctypes.Structure):
    _fields_ = [
        ("number", ctypes.c_int),
        ("resource", ctypes.c_char_p),
        ("implementation", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("flags", ctypes.c_long),
    ]


def found() -> bool:
    """Whether the library is there."""
    return _library() is not None


def _library() -> ctypes.CDLL | None:
    for name in (find_library("hmsbeagle"), "libhmsbeagle.so.1"):
        try:
            return ctypes.CDLL(name) if name else None
        except OSError:
            continue
    return None


class Beagle:
    """log likelihood of each site, in single precision, from the symbols ``(sites, leaves)`` that it is given once."""

    def __init__(self, model: Edges, symbols: np.ndarray) -> None:
        library = _library()
        assert library is not None
        self.library = library
        self.sites = len(symbols)
        states, count, leaves = int(model.cardinality.max()), len(model.level), len(model.leaves)
        number = {int(v): i for i, v in enumerate(model.leaves)}  # buffers: the leaves first
        inner = [v for v in range(count) if v not in number]
        number |= {v: leaves + i for i, v in enumerate(inner)}
        details = _Details()
        self.instance = library.beagleCreateInstance(
            leaves, len(inner), leaves, states, self.sites, 1, count, 1, len(inner) + 1, None, 0,
            ctypes.c_long(SINGLE | SSE | SCALERS_LOG | CPU), ctypes.c_long(SINGLE), ctypes.byref(details),
        )  # fmt: skip
        if self.instance < 0:
            raise RuntimeError(f"BEAGLE returned {self.instance}")
        self.name = (details.implementation or b"").decode()
        for i in range(leaves):
            self._do("SetTipStates", i, np.ascontiguousarray(symbols[:, i], dtype=np.int32))
        for v in range(count):
            if model.matrices[v] is not None:
                self._do(
                    "SetTransitionMatrix", number[v], np.ascontiguousarray(model.matrices[v]), ctypes.c_double(1.0)
                )
        self._do("SetStateFrequencies", 0, np.ascontiguousarray(model.prior[0]))
        self._do("SetCategoryWeights", 0, np.ones(1))
        self._do("SetCategoryRates", np.ones(1))
        self._do("SetPatternWeights", np.ones(self.sites))
        children: dict[int, list[int]] = {}
        for v, p in enumerate(model.parent):
            if p >= 0:
                children.setdefault(int(p), []).append(v)
        since = dict.fromkeys(map(int, model.leaves), 1)
        operations = []
        for v in postorder(children):
            a, b = children[v]
            since[v] = since[a] + since[b]
            scale = number[v] - leaves if since[v] > LEAVES else NONE
            since[v] = 1 if scale >= 0 else since[v]
            operations.append([number[v], scale, NONE, number[a], number[a], number[b], number[b]])
        self.operations = np.array(operations, dtype=np.int32)
        self.total = len(inner)  # the buffer of accumulated scales
        self.root = np.array([number[0]], dtype=np.int32)
        self.zero, self.scales = np.zeros(1, dtype=np.int32), np.array([self.total], dtype=np.int32)
        self.out = np.zeros(self.sites)

    def __call__(self) -> np.ndarray:
        self._do("ResetScaleFactors", self.total)
        self._do("UpdatePartials", self.operations, len(self.operations), self.total)
        total = np.zeros(1)
        self._do("CalculateRootLogLikelihoods", self.root, self.zero, self.zero, self.scales, 1, total)
        self._do("GetSiteLogLikelihoods", self.out)
        return self.out

    def _do(self, what: str, *arguments: object) -> None:
        given = [a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else a for a in arguments]
        code = getattr(self.library, f"beagle{what}")(self.instance, *given)
        if code < 0:
            raise RuntimeError(f"beagle{what} returned {code}")
