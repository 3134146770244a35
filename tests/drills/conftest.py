"""Fixtures of the drills."""

import pytest

from tests.support.processes import Site


@pytest.fixture
def site(site: Site) -> Site:
    """Whether a request that was killed on its way made a prediction is settled within seconds."""
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "3"
    return site
