"""Places for readers: each tenant has its own, and they are given back."""

import pytest

from assay.domain.tenants import TenantLimited
from assay.http.problems import ProblemError
from assay.http.readers import ReaderPlaces


def test_a_tenant_takes_its_own_places_and_no_others():
    """Beyond them it gets its own error; another tenant is served, and so is it afterwards."""
    places = ReaderPlaces(most=3, per_tenant=2)
    with places.held("one"):
        with places.held("one"):
            with pytest.raises(TenantLimited, match="2 open streams"), places.held("one"):
                pytest.fail("there was no place")
            with places.held("two"):
                pass
        with places.held("one"):
            pass


def test_all_places_together_are_bounded():
    """Beyond them the process is overloaded, whoever asks."""
    places = ReaderPlaces(most=2, per_tenant=2)
    with (
        places.held("one"),
        places.held("two"),
        pytest.raises(ProblemError) as refused,
        places.held("three"),
    ):
        pytest.fail("there was no place")
    assert refused.value.problem.code == "overloaded"
