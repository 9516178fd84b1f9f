"""The template engines of the tests."""

from collections.abc import Iterator

import pytest
from django.test import override_settings

from tests.unit.streaming.engines import ENGINES


@pytest.fixture(scope="module")
def template_engines() -> Iterator[None]:
    with override_settings(TEMPLATES=ENGINES):
        yield
