"""Names of variables: positions and names are inverse to each other, also where no string is stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hgm
from hgm.tree.names import GridNames, ListedNames, ReorderedNames

GRID = GridNames(["label", "h1_", "x"], [(), (2, 1), (4, 3)])


def inverse(names):
    """Whether the names are distinct and `index` finds each."""
    listed = list(names)
    return len(set(listed)) == len(listed) == len(names) and [names.index(n) for n in listed] == list(range(len(names)))


def test_grid_names_spell_row_and_column():
    assert list(GRID)[:4] == ["label", "h1_0_0", "h1_1_0", "x0_0"]
    assert GRID[-1 + len(GRID)] == "x3_2"
    assert list(GridNames(["root", "x"], [(), (3,)])) == ["root", "x0", "x1", "x2"]


@pytest.mark.parametrize(
    "names",
    [GRID, ListedNames(["b", "a", "c"]), GRID.take(np.random.default_rng(0).permutation(len(GRID)))],
    ids=["grid", "listed", "reordered"],
)
def test_index_is_the_inverse(names):
    assert inverse(names)


@given(
    st.lists(st.sampled_from(["x", "x1", "x1_", "x_", "h", "h1", "y1_2", "y", ""]), min_size=1, max_size=4),
    st.lists(st.sampled_from([(), (2,), (12,), (2, 12)]), min_size=4, max_size=4),
)
def test_grid_names_are_distinct_or_refused(prefixes, shapes):
    try:
        names = GridNames(prefixes, shapes[: len(prefixes)])
    except hgm.BadSpec as error:
        assert "names" in str(error) or "named" in str(error)
    else:
        assert inverse(names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "label0",
        "x4_0",
        "x0_3",
        "x00_0",
        "x0_0_0",
        "x0",
        "x-1_0",
        "x0_",
        "x٣_0",
        "x" + "9" * 5000,
        "h1",
        None,
        3,
    ],
)
def test_what_is_no_name_is_not_found(name):
    with pytest.raises(KeyError):
        GRID.index(name)


def test_reordering_stores_no_strings_and_undoes_itself():
    order = np.random.default_rng(1).permutation(len(GRID))
    mixed = GRID.take(order)
    assert isinstance(mixed, ReorderedNames) and list(mixed) == [GRID[i] for i in order]
    assert mixed.take(np.argsort(order)) is GRID
    assert mixed == GRID.take(order) and mixed == ListedNames(list(mixed)) and mixed != GRID
    assert list(ListedNames(["a", "b"]).take(np.array([1, 0]))) == ["b", "a"]


def test_equality_compares_names_and_not_kinds():
    assert GridNames(["x"], [(2,)]) == ListedNames(["x0", "x1"])
    assert GridNames(["x"], [(2,)]) != GridNames(["y"], [(2,)])
    assert ListedNames(["a"]) != ListedNames(["a", "b"]) and ListedNames(["a"]) != "a"


def test_bad_names_are_refused():
    with pytest.raises(hgm.BadSpec, match="'a' is declared twice"):
        ListedNames(["a", "b", "a"])
    with pytest.raises(hgm.BadSpec, match=r"must be a string, number, boolean or tuple; got \[3\] \(list\)"):
        ListedNames(["a", [3]])
    with pytest.raises(hgm.BadSpec, match="a variable's name cannot be None, which stands for a missing value"):
        ListedNames(["a", None])
    with pytest.raises(hgm.BadSpec, match="1 is declared twice"):
        ListedNames(["a", 1, True])
    with pytest.raises(hgm.BadSpec, match="'h' and 'h1_' could give two variables one name"):
        GridNames(["h", "h1_"], [(2, 2), (3,)])
    with pytest.raises(hgm.BadSpec, match="must be distinct; got x, x"):
        GridNames(["x", "x"], [(2,), (3,)])
    with pytest.raises(IndexError):
        GRID[len(GRID)]


@pytest.mark.parametrize(
    "names",
    [GRID, ListedNames([f"v{i}" for i in range(15)]), GRID.take(np.random.default_rng(0).permutation(len(GRID)))],
    ids=["grid", "listed", "reordered"],
)
def test_names_are_read_as_a_tuple_is(names):
    listed = tuple(names)
    for i in range(-len(listed), len(listed)):
        assert names[i] == names[np.int64(i)] == listed[i]
    for part in (slice(None), slice(2), slice(-3, None), slice(None, None, -2), slice(20, 5), slice(1, 99, 3)):
        assert names[part] == listed[part]
    for outside in (len(listed), -len(listed) - 1):
        with pytest.raises(IndexError):
            names[outside]
    with pytest.raises(TypeError):
        names[1.5]
    assert listed[-1] in names and "nobody" not in names and 3 not in names
    assert hash(names) == hash(ListedNames(listed))
    assert repr(names) == f"Names({', '.join(listed[:8])}, ... (15 in all))"
