"""Single values in the text of a file: the constants and numbers of YAML 1.2 and of JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

__all__ = ["Malformed", "Unheld", "real", "scalar", "whole"]

_WORDS = {None: "~ null Null NULL", True: "true True TRUE", False: "false False FALSE"}
_CONSTANTS = {"": None} | {word: value for value, words in _WORDS.items() for word in words.split()}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ZERO = re.compile(r"[-+0.]+($|[eE])")
_INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")


class Malformed(Exception):
    """A text that is no YAML or JSON as hgm reads it. `line`: where, or 0."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True)
class Unheld:
    """A finite number that float64 does not hold: as one, it would be zero or infinite."""

    text: str

    def __str__(self) -> str:
        return self.text


def scalar(text: str, line: int) -> object:
    """The value of a plain scalar by the core schema of YAML 1.2. Raises `Malformed` for a number that is too long."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return whole(text, line)
    if _OTHER_BASE.fullmatch(text):
        return whole(text, line, 0)
    if _FLOAT.fullmatch(text):
        return real(text)
    if _INFINITY.fullmatch(text):
        return float(text.replace(".", ""))
    return float("nan") if text in (".nan", ".NaN", ".NAN") else text


def real(text: str) -> float | Unheld:
    """The number that a text is known to be."""
    value = float(text)
    if value and abs(value) < inf:
        return value
    return value if value == 0 and _ZERO.match(text) else Unheld(text)


def whole(text: str, line: int = 0, base: int = 10) -> int:
    """The whole number that a text is known to be. Raises `Malformed` if it has more than 400 digits."""
    digits = len(text.lstrip("+-"))
    if digits > 400:  # longer than any float, and the interpreter refuses very long ones
        raise Malformed(f"the number {text[:20]}... has {digits} digits", line)
    return int(text, base)
