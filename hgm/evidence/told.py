"""Evidence as part of a model: a tree that has been told something is a tree again."""

from __future__ import annotations

from typing import Any

import numpy as np

from hgm.errors import BadEvidence
from hgm.evidence.given import read_evidence
from hgm.tree.potential import Table
from hgm.tree.tree import Tree

__all__ = ["told"]


def told(tree: Tree, evidence: Any) -> Tree:
    """The tree given evidence of one row: with one factor more over each variable of which something was seen.

    Its distribution is the posterior. Arguments as of `hgm.log_evidence`.

    Raises:
        BadEvidence: as `hgm.log_evidence`; also for evidence that has rows, which is that of several models.
    """
    e, batched = read_evidence(tree, evidence)
    if batched:
        raise BadEvidence(f"a model is told one thing, and not {len(e)} rows of evidence")
    logs = e[0].T.detach().cpu().numpy()  # (V, S)
    seen = [v for v, n in enumerate(tree.cardinality.tolist()) if logs[v, :n].any()]
    count = np.arange(len(seen))
    return Tree.build(
        tree.names,
        tree.cardinality,
        np.concatenate([tree.scope_ptr, tree.scope_ptr[-1] + 1 + count]),
        np.concatenate([tree.scope, np.array(seen, dtype=np.int64)]),
        np.concatenate([tree.potential_id, len(tree.potentials) + count]),
        [*tree.potentials, *(Table.from_log(logs[v, : tree.cardinality[v]]) for v in seen)],
        roots=tree.roots.tolist(),
        label_sets=tree.label_sets,
        label_set=tree.label_set,
        grid=tree.grid,
    )
