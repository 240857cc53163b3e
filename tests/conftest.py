"""What every test shares: one torch thread for each worker, and the settings of hypothesis."""

import os

# Before torch is imported: small tensors gain nothing from threads, and parallel workers would fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# No deadline: a test never asserts a time. A failure prints the blob that reproduces it.
settings.register_profile("hgm", deadline=None, print_blob=True)
settings.load_profile("hgm")


@pytest.fixture(params=["levels", "paths", "segments"])
def schedule(request, monkeypatch):
    """What ``schedule="auto"`` chooses: one of them, for small trees too; and paths that are cut, however short."""
    monkeypatch.setattr("hgm.compiler.schedule.cheaper", lambda *_: request.param.replace("segments", "paths"))
    if request.param == "segments":
        monkeypatch.setattr("hgm.compiler.paths._best", lambda longest, *_: (longest // 2, 0.0))
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A test that exports says so in its name: the batteries that hgm ships know no marks of ours."""
    for item in items:
        if "export" in item.originalname:
            item.add_marker("export")
