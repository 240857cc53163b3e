"""Where the tests find what is no code: their data, and the pages of the checkout that they stand in, if they do."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CASES = TESTS / "data" / "cases"  # oracle cases
NETWORKS = TESTS / "data" / "networks"  # network files of format 1

ROOT = TESTS.parent
CHECKOUT = (ROOT / "mkdocs.yml").exists()  # not where a built wheel is tested
needs_checkout = pytest.mark.skipif(not CHECKOUT, reason="needs the checkout")


def page(name: str) -> str:
    """The text of a page, by its path from the root of the checkout; empty without one."""
    return (ROOT / name).read_text() if CHECKOUT else ""
