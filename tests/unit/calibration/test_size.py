"""A million rows are taken, and the room is loaded by those alone who ask for it."""

import subprocess
import sys

import numpy as np

from assay.calibration.agreement import krippendorff_alpha, label_agreement, worst_disagreements
from assay.calibration.cascade import certify_cascade
from assay.calibration.comparison import compare_runs
from assay.calibration.draws import draw_rows
from assay.calibration.prediction_powered import prediction_powered_mean
from assay.calibration.sequential import StoppingRule
from assay.calibration.thresholds import propose_threshold

N = 1_000_000


def test_a_million_rows_are_taken():
    """Every section gives its figure for a million rows in bounded memory."""
    rng = np.random.default_rng(0)
    human = (rng.random(N) < 0.7) * 1.0
    judge = np.where(rng.random(N) < 0.9, human, 1 - human)
    score = judge + rng.random(N)
    assert label_agreement(judge, human).figures["accuracy"].interval[0] > 0.89
    assert krippendorff_alpha(np.stack([score, human]), "ordinal") > 0
    assert propose_threshold(score, human).value > 0.9
    draw = draw_rows(rng.random(N), 1_000, seed=0)
    labels = np.full(N, np.nan)
    labels[draw.rows] = human[draw.rows]
    found = prediction_powered_mean(labels, judge, probabilities=draw.probabilities)
    assert abs(found.debiased.value - 0.7) < 0.05
    assert compare_runs(human, judge).p_value < 1e-6
    sure = rng.random(N)
    assert certify_cascade([judge], [sure], human, [1], alpha=0.11, delta=0.1).certified
    assert len(worst_disagreements(score, human)) == 100
    rule = StoppingRule(0.5, N)
    assert rule.finish(dict(enumerate(judge[:2_000]))) == "passed"


def test_the_service_starts_without_it():
    """Importing the command line and the composition root loads neither numpy nor scipy."""
    code = (
        "import sys, assay.cli, assay.bootstrap.service;"
        "print([name for name in ('numpy', 'scipy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
