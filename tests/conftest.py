"""What every test shares: one torch thread for each worker, and the settings of hypothesis."""

import os

# Before torch is imported: small tensors gain nothing from threads, and parallel workers would fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# No deadline: a test never asserts a time. A failure prints the blob that reproduces it.
settings.register_profile("hgm", deadline=None, print_blob=True)
settings.load_profile("hgm")
