"""The nearest known name: offered for a typing error, and not for an unrelated name."""

import pytest

from assay.domain.suggestions import did_you_mean

FIELDS = ["input", "output", "reference", "context", "criteria", "judge", "metadata"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("outpt", "; did you mean 'output'?"),
        ("contexts", "; did you mean 'context'?"),
        ("extra", ""),
        ("title", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_only_a_name_that_is_nearly_the_same_is_offered(name, hint):
    """A wrong hint costs the caller more time than none."""
    assert did_you_mean(name, FIELDS) == hint
