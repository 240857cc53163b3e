"""For tests of extensions: batteries that a new kind of potential, op, stage or channel inherits."""

from hgm.measure.feed import feed
from hgm.measure.samples import random_evidence, soft_evidence
from hgm.testing.battery import assert_close
from hgm.testing.channels import ChannelConformance
from hgm.testing.conformance import Conformance, expected_counts

__all__ = [
    "ChannelConformance",
    "Conformance",
    "assert_close",
    "expected_counts",
    "feed",
    "random_evidence",
    "soft_evidence",
]
