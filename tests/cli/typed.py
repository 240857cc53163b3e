"""What the tests of the command line share."""

import re

TYPED = """\
variables: [["2", 2], [2, [true, "x"]], [x, [1, "1"]], [y, [[1, 2], [2, 1]]], [["A", 0], [3, 2, 1]], [2.5, [0.5, -1]]]
factors:
  - {scope: ["2", 2], table: [[1, 2], [3, 4]]}
  - {scope: [2, x], table: [[1, 2], [3, 5]]}
  - {scope: [x, ["A", 0]], table: [[1, 2, 4], [3, 5, 7]]}
  - {scope: [["A", 0], 2.5], table: [[1, 2], [3, 5], [2, 3]]}
  - {scope: [2.5, y], table: [[1, 2], [3, 5]]}
"""


def row(out, name):
    """The cells of a variable's row in a table of marginals."""
    (line,) = [line for line in out.splitlines() if line.startswith(name + " ")]
    return re.split(r"\s{2,}", line.strip())
