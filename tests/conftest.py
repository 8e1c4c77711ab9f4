"""Shapes and types of every public function are checked while the tests run; workers share the cores."""

import os
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("sciml", "typecheck.check")

from sciml.data.buffers import cores  # noqa: E402, with the hook in place

# With more threads than cores they wait for each other, here and in what tests start.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = max(1, cores() // WORKERS)
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def published_data() -> Path:
    """The folder of data that others made; tests that need it are skipped where it is not."""
    folder = os.environ.get("SCIML_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SCIML_TEST_DATA names no folder of published data")
    return Path(folder)
