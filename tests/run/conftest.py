"""The cache of this run's tests, so that none is left in the home directory."""

import pytest

from gradtx.run import sources


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Return the directory that stands for ~/.cache/gradtx."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CACHE", folder)
        yield folder
