"""Words of a command line and the names and labels that they mean: each goes by its ``str``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hgm.errors import BadEvidence, HgmError
from hgm.tree.labels import Label
from hgm.tree.names import ListedNames
from hgm.tree.structure import once
from hgm.tree.tree import Tree

__all__ = ["asked", "called", "distinct", "known", "state_called"]


def known(tree: Tree, word: str) -> list[Label]:
    """The names with this text."""
    return ([word] if word in tree.names else []) + _others(tree).get(word, [])


def called(tree: Tree, word: str) -> Label:
    """The variable whose name has this text. Raises `BadEvidence` if none has, or two have."""
    found = known(tree, word)
    if not found:
        tree.index(word)  # raises the error
    return _one(found, word, "variables")


def asked(tree: Tree, words: Iterable[str]) -> list[Label]:
    """The variables with these texts, each once."""
    return list(dict.fromkeys(called(tree, word) for word in words))


def state_called(tree: Tree, v: int, word: str) -> Label | None:
    """The label or ambiguity code of variable v that has this text, or ``None``. Raises `BadEvidence` if two have."""
    found = [label for label in (*(tree.labels(v) or ()), *tree.state_names(v).codes) if str(label) == word]
    return _one(found, word, f"states of variable {tree.names[v]!r}") if found else None


def distinct(things: Sequence[Label], what: str) -> list[str]:
    """Their texts. Raises `HgmError`, saying `what` they are, if two have the same."""
    first: dict[str, Label] = {}
    for thing in things:
        if first.setdefault(str(thing), thing) is not thing:
            raise HgmError(
                f"{what} {first[str(thing)]!r} and {thing!r} have the same text, so these data would mix them up; "
                "print the table, or ask for others with --query"
            )
    return list(first)


def _one(found: Sequence[Label], word: str, what: str) -> Label:
    if len(found) > 1:
        both = " and ".join(map(repr, found))
        raise BadEvidence(f"{word!r} means several {what}: {both}; in an evidence file, and in Python, they differ")
    return found[0]


@once
def _others(tree: Tree) -> dict[str, list[Label]]:
    """The names that are no strings, by their texts."""
    others: dict[str, list[Label]] = {}
    if isinstance(tree.names, ListedNames):  # computed names are strings, a million perhaps
        for name in tree.names:
            if not isinstance(name, str):
                others.setdefault(str(name), []).append(name)
    return others
