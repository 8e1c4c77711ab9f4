"""Shapes and types of every public function are checked while the tests run."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("sciml", "typecheck.check")


@pytest.fixture(scope="session")
def published_data() -> Path:
    """The folder of data that others made; tests that need it are skipped where it is not."""
    folder = os.environ.get("SCIML_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SCIML_TEST_DATA names no folder of published data")
    return Path(folder)
