"""A comparison of two batches, which the service may still be computing."""

from assay.client import BatchHandle


class ComputingService:
    """A connection to a service that computes the comparison while it is asked for it."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def get(self, path, **query):
        assert (path, query) == ("/v1/batches/b2/compare", {"base": "b1", "limit": 20})
        return self._answers.pop(0)


def test_a_comparison_is_asked_for_until_it_is_there(capsys):
    """Its progress is shown on stderr, if that is asked for."""
    reading, done = {"rows_read": 7, "rows": 9}, {"criteria": []}
    for progress, shown in ((False, ""), (True, "assay: 7 of 9 rows are read\n")):
        batch = BatchHandle(ComputingService(reading, done), {"id": "b2"})
        assert batch.compare("b1", progress=progress) == done
        assert capsys.readouterr().err == shown
