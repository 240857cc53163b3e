"""Model files: a `Tree` from YAML or JSON and back, exactly.

A file has one of two forms. The *layered* form gives a layered model level by level (key ``levels``), the *explicit*
form any forest by its variables and factors (key ``variables``). The page "File format" of the manual shows both.
"""

from __future__ import annotations

import os
from typing import Any

from hgm.errors import BadSpec, brief
from hgm.files.whole import TEXT, checked_ending, checked_path, write_whole
from hgm.tree.tree import Tree

__all__ = ["json_schema", "load", "save"]

_PGMPY = "pgmpy reads it: hgm.from_pgmpy(pgmpy.readwrite.{}Reader({!r}).get_model())"
_PHYLO = (
    "it has no tables. Biopython reads it: Bio.Phylo.read({1!r}, {0!r}); give each branch its matrix, "
    "and hgm.Tree.from_edges the triples (parent, child, matrix)"
)
#: files of other programs by their ending: what they are, the name that their reader knows them by, and the way
FOREIGN = {
    ".bif": ("a BIF file", "BIF", _PGMPY),
    **dict.fromkeys((".xml", ".xmlbif", ".xbif", ".bifxml"), ("an XMLBIF file, it seems", "XMLBIF", _PGMPY)),
    ".uai": ("a UAI file", "UAI", _PGMPY),
    **dict.fromkeys((".nwk", ".newick", ".tree", ".tre"), ("a Newick file, it seems", "newick", _PHYLO)),
    **dict.fromkeys((".nex", ".nexus"), ("a Nexus file", "nexus", _PHYLO)),
}

# yaml and pydantic are imported by the modules beside this one, and those only in the functions that need them.


def load(path: str | os.PathLike[str]) -> Tree:
    """The tree that a .yaml, .yml or .json file declares.

    Args:
        path: of the file. Nothing in a file is executed.

    Raises:
        BadSpec: for anything that is wrong with the file; the message names the file, the line, the part, what was
            expected there and what was given. For a BIF, XMLBIF, UAI or Newick file it says what reads it.
        NotATree: if the factors form a cycle, or two roots are in one tree.
    """
    from hgm.files.read import tree_of
    from hgm.files.text import read

    path = checked_path(path, "a model file")
    if path.suffix.lower() in FOREIGN:
        what, known_as, way = FOREIGN[path.suffix.lower()]
        raise BadSpec(f"{path} is {what}, no model file of hgm; {way.format(known_as, str(path))}")
    return tree_of(read(path))


def save(tree: Tree, path: str | os.PathLike[str]) -> None:
    """Writes a tree to a .yaml, .yml or .json file, in the layered form if it has one, so that `load` gives it back.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Args:
        tree: any tree of `Edge`, `Table` and `Rules` potentials.
        path: of the file; an existing one is replaced.

    Raises:
        BadSpec: for another ending of the file name, a place that cannot be written, or a potential of another kind.
    """
    from hgm.files.write import explicit, json_text, layered, yaml_text

    if not isinstance(tree, Tree):
        raise BadSpec(f"hgm.save takes a Tree and the path of its file; got {brief(tree)} as the tree{_instead(tree)}")
    path = checked_ending(path, "a model file", TEXT)
    data = layered(tree) or explicit(tree)
    text = json_text(data) if path.suffix.lower() == ".json" else yaml_text(data)
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadSpec(
            f"{path}: a name or label is not valid text: {error.object[error.start - 5 : error.end + 5]!r}"
        ) from None
    write_whole(path, content)


def _instead(given: Any) -> str:
    """What writes something that is no tree."""
    return "; hgm.save_network writes a network" if callable(getattr(given, "tree", None)) else ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a model file, for editors and other programs."""
    from pydantic.json_schema import models_json_schema

    from hgm.files.schema import Explicit, Layered

    _, definitions = models_json_schema([(Layered, "validation"), (Explicit, "validation")])
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hgm model file",
        "oneOf": [{"$ref": "#/$defs/Layered"}, {"$ref": "#/$defs/Explicit"}],
    }
    stripped: dict[str, Any] = _without_null(definitions | schema)
    return stripped


def _without_null(part: Any) -> Any:
    """The schema without ``null``, which stands for a missing key inside and is refused in a file."""
    if isinstance(part, list):
        return [_without_null(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _without_null(entry) for key, entry in part.items() if not (key == "default" and entry is None)}
    choices = [choice for choice in kept.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        return choices[0] | kept
    return kept | {"anyOf": choices} if choices else kept
