"""The pytest plugin of gradtx, which pytest loads by itself: the fixture `check_transformation`.

It stands outside the package, since pytest loads it into every run: it imports nothing but pytest
until a test asks for the fixture.
"""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def check_transformation() -> Callable[..., Any]:
    """`gradtx.testing.check_transformation`, whose failure is the report and no traceback."""
    from gradtx.testing import examine

    def check(tx_or_factory: Any, **options: Any) -> Any:
        report = examine(tx_or_factory, **options)
        if not report:
            pytest.fail(str(report), pytrace=False)
        return report

    return check
