"""`hgm init`: a model to begin with."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from hgm.cli.options import MODELS, app, examples
from hgm.errors import BadSpec

EXAMPLE = """\
# A model: discrete variables, and factors that say how they depend on each other. They must form a tree.
#   hgm infer {name} -e grass=wet          what a wet lawn says about the weather
#   hgm draw {name} -o tree.svg            a picture of it
#   hgm show {name}                        the network that it compiles to

hgm: 1                                # the version of the file format

variables:                            # each with the labels of its states, or how many there are
  weather: [sunny, rainy]
  sprinkler: ["on", "off"]            # in quotes: YAML takes on and off, yes and no, for true and false
  grass: [dry, wet]
  umbrellas: 4                        # states 0, 1, 2, 3

roots: [weather]                      # where the tree is drawn from; left out, the first variable

factors:                              # tables of numbers >= 0; rows that sum to 1 are probabilities, others weights
  - scope: [weather]                  # a prior: one number for each state
    table: [0.8, 0.2]
  - scope: [weather, sprinkler]       # a row for each state of weather, a column for each of sprinkler
    table:
      - [0.4, 0.6]                    # sunny: on, off
      - [0.1, 0.9]                    # rainy
  - scope: [sprinkler, grass]
    table:
      - [0.1, 0.9]                    # on: dry, wet
      - [0.7, 0.3]                    # off
  - scope: [weather, umbrellas]
    table:
      - [0.9, 0.1, 0.0, 0.0]          # a zero is a state that cannot be
      - [0.1, 0.2, 0.3, 0.4]

# Images and sequences are shorter: replace all of the above below `hgm: 1` by levels, each tied over all positions.
# Tables that are left out are drawn at random.
#
#   root: {{states: 10}}
#   levels:
#     - {{arity: [2, 2], states: 8}}    # 2x2 blocks of 8 states
#     - {{arity: [2, 2], states: 4}}    # 4x4 pixels of 4 values
"""


@app.command(rich_help_panel=MODELS, epilog=examples("hgm init tree.yaml"))
def init(
    path: Annotated[
        Path, typer.Argument(metavar="[MODEL]", help="The file to write: .yaml or .yml.", show_default=False)
    ] = Path("tree.yaml"),
) -> None:
    """Write an example model with comments, to edit.

    Without a name it is tree.yaml. A file that exists is left alone.
    """
    from hgm.files.whole import checked_ending, write_whole

    where = checked_ending(path, "an example model", (".yaml", ".yml"))
    if where.exists():
        raise BadSpec(f"{where} exists, and is left alone; give another name")
    write_whole(where, EXAMPLE.format(name=quote(where.name)).encode())
    print(f"wrote {where}")
