"""How the shipped autoscaler reacts to steps, swings, quotas and outages.

A flap is a scale-up within ten minutes of a scale-down (`Outcome.flaps`).
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hpa.autoscaler import SYNC_S
from hpa.report import SEEDS, figures
from hpa.scenarios import (
    HALF_LOST,
    LOST,
    OUTAGE,
    POD_DIES,
    QUOTA,
    QUOTA_BYTES,
    RAMP,
    SAWTOOTH,
    SCENARIOS,
    STEP,
    mixing_the_waits,
    with_window,
)
from hpa.simulation import Outcome, Scenario, run, shipped

PAGE = Path(__file__).parents[3] / "docs" / "hpa.md"
STEADY_UNDER_LOAD = [STEP, RAMP, QUOTA, QUOTA_BYTES, LOST, HALF_LOST, POD_DIES]
BACK_TO_LOW = [STEP, RAMP, SAWTOOTH, QUOTA, QUOTA_BYTES, LOST]

by_name = {"ids": lambda value: getattr(value, "name", str(value))}


@cache
def played(scenario: Scenario, seed: int = 1) -> Outcome:
    return run(scenario, seed=seed)


def needed(rate: float) -> int:
    """The pods that a steady load of `rate` requests a second needs."""
    return max(played(replace(QUOTA, name="plain", world=steady(rate))).replicas)


@cache
def steady(rate: float):
    return replace(QUOTA.world, load=lambda _: rate, quota_per_s=None)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scenario", STEADY_UNDER_LOAD, **by_name)
def test_nothing_flaps(scenario, seed):
    """No pod is removed and requested again within ten minutes."""
    assert played(scenario, seed).flaps == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_swing_flaps_once_at_most(seed):
    """A highest metric that falls between two decisions may cost one pod of the ten swings."""
    assert played(SAWTOOTH, seed).flaps <= 1


@pytest.mark.parametrize("scenario", BACK_TO_LOW, **by_name)
def test_afterwards_the_minimum_is_enough_again(scenario):
    """When the load is gone the pods go, down to the minimum."""
    assert played(scenario).replicas[-1] == shipped().behavior.replicas_min


@pytest.mark.parametrize("scenario", SCENARIOS, **by_name)
def test_bounds_hold(scenario):
    """Never fewer than the minimum, never more than the maximum."""
    bounds = shipped().behavior
    assert min(played(scenario).replicas) >= bounds.replicas_min
    assert max(played(scenario).replicas) <= bounds.replicas_max


def test_a_step_is_met_within_a_minute_and_absorbed_within_three():
    """Enough pods are requested after a minute; after three no request waits for a slot."""
    outcome = played(STEP)
    assert outcome.between(6, 7)[0].replicas >= needed(100)
    assert all(moment.utilization < 1 for moment in outcome.between(8, 20))


def test_a_period_as_long_as_the_sync_would_block_decisions():
    """Why periods are 10 s: with 15 s, a decision that is early counts the last one's change."""
    setup = shipped()
    policies = tuple(replace(policy, period_s=SYNC_S) for policy in setup.behavior.up.policies)
    up = replace(setup.behavior.up, policies=policies)
    blocked = replace(setup, behavior=replace(setup.behavior, up=up))

    def pods_after_a_minute(setup):
        outcomes = [run(STEP, setup, seed) for seed in SEEDS]
        return sum(outcome.between(5.75, 6)[0].replicas for outcome in outcomes)

    assert pods_after_a_minute(blocked) < pods_after_a_minute(setup)


def test_a_slow_rise_is_run_ahead_of():
    """On a ramp no request waits or is refused."""
    assert played(RAMP).wait_p99_s < 0.1
    assert played(RAMP).refused_share == 0


@pytest.mark.parametrize("scenario", [QUOTA, QUOTA_BYTES], **by_name)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_used_up_quota_adds_no_pods(scenario, seed):
    """A load of three times the quota gets no more pods than the quota itself."""
    outcome = played(scenario, seed)
    assert outcome.counts.refused_by_quota > 0.3 * outcome.counts.arrived
    assert outcome.counts.refused_by_pods == 0
    assert max(outcome.replicas) <= needed(scenario.world.quota_per_s)


def test_counting_those_who_wait_for_the_quota_would_add_many():
    """Why the two waits are kept apart: together they ask for four times the pods."""
    mixed = run(QUOTA, mixing_the_waits(shipped()))
    assert max(mixed.replicas) >= 4 * max(played(QUOTA).replicas)


def test_an_outage_adds_no_pods_and_all_is_well_after_it():
    """While the provider is silent no pods are added; ten minutes later there are as many."""
    outcome = played(OUTAGE)
    before = outcome.between(14, 15)[-1].replicas
    assert max(moment.replicas for moment in outcome.between(15, 20)) <= before
    assert abs(outcome.replicas[-1] - before) <= 1
    assert outcome.flaps <= 1


def test_a_lost_metric_never_scales_down():
    """While the metric is lost the load falls, and no pod goes before the metric is back."""
    outcome = played(LOST)
    blind = [moment.replicas for moment in outcome.between(14, 24)]
    assert len(set(blind)) == 1
    assert outcome.replicas[-1] < blind[0]


def test_half_a_metric_changes_nothing():
    """With half of the pods silent under a steady load nothing moves."""
    assert len({moment.replicas for moment in played(HALF_LOST).between(10, 20)}) == 1


def test_a_pod_that_dies_is_replaced_and_no_more():
    """The fleet changes by at most one pod, and no request is refused."""
    outcome = played(POD_DIES)
    before = outcome.between(14, 15)[-1].replicas
    assert all(abs(moment.replicas - before) <= 1 for moment in outcome.between(15, 30))
    assert outcome.refused_share == 0


def test_a_shorter_window_would_flap():
    """Why 300 s: with 60 s every swing of the load removes pods and requests them again."""
    assert run(SAWTOOTH, with_window(shipped(), 60)).flaps >= 5


@pytest.mark.parametrize("scenario", SCENARIOS, **by_name)
def test_the_page_has_the_figures_of_the_shipped_settings(scenario):
    """docs/hpa.md is up to date with the manifests and the simulation."""
    runs = [played(scenario, seed) for seed in SEEDS]
    assert f"| {scenario.title} | {figures(runs)} |" in PAGE.read_text()
