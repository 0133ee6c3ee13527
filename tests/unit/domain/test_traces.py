"""Which traces are in a share, and which are those of judges."""

from __future__ import annotations

from assay.domain.traces import is_judge_trace, judge_trace_id, share_of

KEY, OTHER = b"k" * 32, b"o" * 32


def test_a_share_is_as_large_as_it_says_and_grows() -> None:
    """Uniform over traces whose ids are in a row; a larger share has all of a smaller one."""
    shares = [share_of(KEY, f"{number:032x}") for number in range(10_000)]
    assert 1_850 < sum(share < 0.2 for share in shares) < 2_150
    assert all(0 <= share < 1 for share in shares)
    assert shares != [share_of(OTHER, f"{number:032x}") for number in range(10_000)]


def test_traces_of_judges_are_known_by_the_key_alone() -> None:
    """No list of them is kept; another key, or a trace of an application, is not taken for one."""
    ids = {judge_trace_id(KEY) for _ in range(100)}
    assert len(ids) == 100
    assert all(is_judge_trace(KEY, one) for one in ids)
    assert not any(is_judge_trace(OTHER, one) for one in ids)
    assert not any(is_judge_trace(KEY, f"{number:032x}") for number in range(1_000))
