"""For tests of extensions: a battery that a new kind of potential, op, stage or channel inherits."""

from hgm.testing.conformance import Conformance, assert_close, expected_counts, feed, random_evidence

__all__ = ["Conformance", "assert_close", "expected_counts", "feed", "random_evidence"]
