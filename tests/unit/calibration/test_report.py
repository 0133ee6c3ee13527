"""The report of one criterion, from columns of verdicts and labels of some rows."""

import numpy as np
import pytest

from assay.calibration.options import CascadeGoal, ReportOptions, Tier
from assay.calibration.report import Ratings, Verdicts, report

NAN = float("nan")


def verdicts(passed, *, groups=None, models=None, labels=None, scores=None, chances=None):
    """Verdicts of rows, with scores equal to pass and fail unless given."""
    rows = len(passed)
    return Verdicts(
        groups or [""] * rows,
        models or ["m"] * rows,
        passed,
        labels or [None] * rows,
        passed if scores is None else scores,
        passed if scores is None else scores,
        [NAN] * rows if chances is None else chances,
    )


def ratings(values, *, annotator="ann", random=False, rows=None):
    rows = list(range(len(values))) if rows is None else rows
    return Ratings(rows, [annotator] * len(rows), list(values), [random] * len(rows))


def one(found):
    (only,) = found
    return only


class TestPeople:
    def test_a_contradiction_counts_for_neither(self):
        """Two ratings of a row by one annotator leave it without one, which is told."""
        given = Ratings([0, 0, 1], ["a"] * 3, [True, False, True], [False] * 3)
        found = one(report(verdicts([1, 1]), {"passed": given}, ReportOptions()))
        assert found.agreement.rows == 1
        assert any("1 times one annotator said two things" in text for text in found.statements)

    def test_scores_are_averaged(self):
        """The mean of two annotators is what the judge is compared with."""
        given = Ratings([0, 0, 1, 1], ["a", "b"] * 2, [0.0, 1.0, 1.0, 1.0], [False] * 4)
        found = one(report(verdicts([0, 1], scores=[0.5, 1.0]), {"score": given}, ReportOptions()))
        assert found.agreement.figures["mean_absolute_error"].value == 0.0
        assert found.threshold is None

    def test_classes_keep_their_names(self):
        """Disagreements name the labels, also those that only one side gave."""
        given = ratings(["good", "bad", "ugly"])
        judged = verdicts([NAN] * 3, labels=["good", "fine", None])
        found = one(report(judged, {"label": given}, ReportOptions()))
        assert found.names == ("bad", "fine", "good", "ugly")
        assert found.disagreements == ((1, "fine", "bad"),)
        assert set(found.agreement.figures) == {"accuracy", "kappa", "alpha"}
        assert found.debiased is None

    def test_no_row_is_rated_by_two(self):
        """How far people agree is then unknown, with the reason."""
        found = one(report(verdicts([1, 0]), {"passed": ratings([True, True])}, ReportOptions()))
        assert found.people["alpha"].value is None
        assert "unknown" in found.people["alpha"].statement


class TestJudges:
    def test_each_model_has_its_figures(self):
        """Only where several served."""
        passed = [1, 1, 1, 1]
        given = {"passed": ratings([True, True, False, False])}
        judged = verdicts(passed, models=["a", "a", "b", "b"])
        found = one(report(judged, given, ReportOptions()))
        accuracies = {name: each.figures["accuracy"].value for name, each in found.by_model.items()}
        assert accuracies == {"a": 1.0, "b": 0.0}
        alone = one(report(verdicts(passed), given, ReportOptions()))
        assert alone.by_model == {}

    def test_a_judge_that_always_passes(self):
        """Has an accuracy, but neither a threshold nor agreement beyond chance."""
        people = [number % 3 > 0 for number in range(60)]
        found = one(report(verdicts([1] * 60), {"passed": ratings(people)}, ReportOptions()))
        assert found.agreement.figures["accuracy"].value == pytest.approx(2 / 3)
        assert found.agreement.figures["kappa"].value == pytest.approx(0.0)
        assert found.threshold.value is None
        assert "The judge gave one class only." in found.agreement.statements

    def test_unscored_rows_are_left_out_and_told(self):
        """They count neither as agreement nor as the opposite."""
        judged = verdicts([1, NAN, 0])
        found = one(report(judged, {"passed": ratings([True] * 3)}, ReportOptions()))
        assert found.agreement.rows == 2
        assert "1 labelled rows are unscored and left out." in found.agreement.statements

    def test_all_groups_of_size_one_are_as_no_groups(self):
        """The figures and intervals are the same."""
        rng = np.random.default_rng(1)
        passed = rng.integers(0, 2, 100).astype(float)
        people = [bool(value) for value in rng.integers(0, 2, 100)]
        alone, grouped = (
            one(
                report(
                    verdicts(passed, groups=groups), {"passed": ratings(people)}, ReportOptions()
                )
            )
            for groups in (None, [f"g{number}" for number in range(100)])
        )
        assert grouped.agreement.groups == 100
        assert (
            grouped.agreement.figures["accuracy"].value == alone.agreement.figures["accuracy"].value
        )


class TestDrawnRows:
    def test_a_draw_weighs_its_labels(self):
        """Rows that were likelier to be drawn weigh less, and others are left out."""
        passed = [float(number % 2) for number in range(200)]
        given = ratings([bool(number % 2) for number in range(100)])
        drawn = {row: 0.5 if row < 40 else 0.25 for row in range(60)}
        found = one(report(verdicts(passed), {"passed": given}, ReportOptions(drawn=drawn)))
        assert found.debiased.labels == 60
        assert found.debiased.statements[0].startswith("40 labels are left out")

    def test_skipped_rows_are_told(self):
        """For whoever skips the hard ones biases the mean."""
        found = one(
            report(
                verdicts([0.0, 1.0] * 50),
                {"passed": ratings([True] * 40)},
                ReportOptions(drawn=dict.fromkeys(range(50), 0.5)),
            )
        )
        assert any(text.startswith("10 drawn rows") for text in found.debiased.statements)


def tier(passed, sure, cost):
    rows = range(len(passed))
    return Tier(
        dict(zip(rows, passed, strict=True)),
        {},
        dict(zip(rows, sure, strict=True)),
        cost,
    )


class TestCascades:
    def test_a_sure_cheap_judge_is_certified(self):
        """Where it is unsure, the dear judge decides; thresholds come from what they said."""
        rng = np.random.default_rng(2)
        people = rng.random(600) < 0.5
        sure = rng.random(600)
        wrong = (sure < 0.3) & (rng.random(600) < 0.5)
        cheap = tier([bool(x) for x in people ^ wrong], sure.tolist(), 1.0)
        dear = tier([bool(x) for x in people], [None] * 600, 10.0)
        goal = CascadeGoal(0.1, 0.1, tiers=[cheap, dear])
        given = {"passed": ratings([bool(x) for x in people])}
        found = one(report(verdicts(people.astype(float)), given, ReportOptions(), goal))
        certificate = found.certificate
        assert certificate.thresholds is not None
        assert certificate.disagreements / certificate.accepted < 0.1
        assert certificate.cost < 11.0

    def test_a_tier_that_was_not_asked_decides_nothing(self):
        """Rows without its verdict are not taken as right."""
        people = [True] * 200
        cheap = Tier({}, {}, {}, 1.0)
        goal = CascadeGoal(0.1, 0.1, tiers=[cheap])
        given = {"passed": ratings(people)}
        found = one(report(verdicts([1.0] * 200), given, ReportOptions(), goal))
        assert found.certificate.thresholds is None

    def test_scores_have_no_certificate(self):
        """A disagreement is not defined for them, and the report says so."""
        goal = CascadeGoal(0.1, 0.1, tiers=[tier([True], [1.0], 1.0)])
        given = {"score": ratings([0.5])}
        found = one(report(verdicts([1.0]), given, ReportOptions(), goal))
        assert found.certificate.thresholds is None
        assert "not scores" in found.certificate.statement
