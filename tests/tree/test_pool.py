"""What is the same object is tied, and nothing else is."""

import numpy as np

from hgm.tree.pool import Pool


def test_a_pool_numbers_objects_and_not_values():
    pool = Pool()
    matrix, same = np.ones((2, 2)), np.ones((2, 2))
    assert [pool.number(p) for p in (matrix, same, matrix)] == [0, 1, 0]
    assert len(pool.potentials) == 2
    # temporaries must not share a number because they shared a place in memory
    assert len({pool.number(np.full(2, 1.0 + i)) for i in range(100)}) == 100
