"""Prices, windows and ends of life of models, where the configuration does not say."""

import asyncio
import datetime as dt
import logging
from importlib.metadata import version
from typing import Any

import pytest
from pydantic import ValidationError

from assay.bootstrap.from_settings import models_from_settings
from assay.bootstrap.process import warn_of_ends
from assay.domain.completion import Usage
from assay.domain.models import Model
from assay.settings import Settings, known_model, known_models
from assay.settings.known_models import KnownModel


def settings(name: str, url: str = "", tenants: Any = None, **fields: Any) -> Settings:
    return Settings.model_validate(
        {
            "providers": {"p": {"dialect": "openai", "base_url": url}},
            "models": {"p/m": {"provider": "p", "name": name, **fields}},
            "tenants": tenants or {},
        }
    )


def test_what_is_published_fills_in_what_is_not_configured() -> None:
    """Price with its source and date, window, thinking; a long prompt has its own price."""
    (model,) = models_from_settings(settings("gpt-6-luna"))
    listed = known_models().prices
    assert model.is_priced
    assert model.context_tokens is not None
    assert model.reasoning
    assert (model.price_source, model.price_date) == (f"genai-prices {listed.version}", listed.date)
    short, long = (model.cost_usd(Usage(tokens, 0)) / tokens for tokens in (1_000, 900_000))
    assert 0 < short < long


def test_the_configuration_comes_first() -> None:
    """Also for the end of life."""
    own = {"input_usd_per_mtok": 7, "output_usd_per_mtok": 8, "context_tokens": 9}
    end = dt.date(2030, 1, 1)
    (model,) = models_from_settings(settings("gpt-6-luna", reasoning=False, end_of_life=end, **own))
    assert (model.input_usd_per_mtok, model.output_usd_per_mtok) == (7, 8)
    assert (model.context_tokens, model.reasoning, model.end_of_life) == (9, False, end)
    assert (model.price_source, model.price_date) == ("configuration", None)
    assert model.long_prices == ()


def test_a_tenants_cap_over_a_model_without_a_price_is_an_error() -> None:
    """At the start, with the names of the settings; a configured price of 0 is a price."""
    cap = {"acme": {"usd_per_day": 1.0}}
    unpriced = settings("mine", "http://127.0.0.1:9/v1", cap)
    with pytest.raises(ValueError, match=r"^tenants\.acme\.usd_per_day: .*models\.p/m"):
        models_from_settings(unpriced)
    free = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
    assert models_from_settings(settings("mine", "http://127.0.0.1:9/v1", cap, **free))
    del free["output_usd_per_mtok"]
    with pytest.raises(ValueError, match="output_usd_per_mtok"):
        models_from_settings(settings("mine", "http://127.0.0.1:9/v1", cap, **free))


@pytest.mark.parametrize(
    ("url", "fields", "named"),
    [
        ("https://api.example.com/v1", {"input_usd_per_mtok": 0}, "input_usd_per_mtok"),
        (
            "",
            {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0, "cached_input_usd_per_mtok": 0},
            "input_usd_per_mtok",
        ),
        ("", {"input_usd_per_mtok": 1, "free": True}, "free"),
    ],
)
def test_a_price_of_zero_has_to_be_meant(url: str, fields: dict[str, Any], named: str) -> None:
    """A cost cap over it would never be reached, so the setting and what to write are named."""
    with pytest.raises(ValidationError, match=rf"models\.p/m\.{named}: "):
        settings("mine", url, **fields)


def test_a_model_that_is_free_keeps_any_cap() -> None:
    """Its price is 0 by configuration, also where another one is published."""
    cap = {"acme": {"usd_per_day": 1.0}}
    for name in ("mine", "gpt-6-luna"):
        (model,) = models_from_settings(settings(name, "", cap, free=True))
        assert model.is_priced
        assert model.cost_usd(Usage(1_000_000, 1_000_000)) == 0
        assert model.price_source == "configuration"


def test_cached_input_has_its_own_price() -> None:
    """As published, or as configured; where none is known, it costs as much as other input."""
    fresh, cached = Usage(1_000_000, 0), Usage(1_000_000, 0, 0, 1_000_000)
    (published,) = models_from_settings(settings("gpt-5.4-mini"))
    assert 0 < published.cost_usd(cached) < published.cost_usd(fresh)
    (own,) = models_from_settings(settings("gpt-5.4-mini", cached_input_usd_per_mtok=0.5))
    assert own.cost_usd(cached) == 0.5
    assert own.cost_usd(fresh) == published.cost_usd(fresh)
    price = {"input_usd_per_mtok": 7, "output_usd_per_mtok": 8}
    (plain,) = models_from_settings(settings("gpt-5.4-mini", **price))
    assert plain.cost_usd(cached) == plain.cost_usd(fresh) == 7


def test_input_that_is_written_to_a_cache_has_its_own_price() -> None:
    """As published, or as configured; what is neither read nor written costs as ever."""
    fresh, written = Usage(1_000_000, 0), Usage(1_000_000, 0, cache_write_tokens=1_000_000)
    (published,) = models_from_settings(settings("gpt-5.6"))
    assert published.cost_usd(written) == pytest.approx(1.25 * published.cost_usd(fresh))
    (own,) = models_from_settings(settings("gpt-5.6", cache_write_usd_per_mtok=9))
    assert own.cost_usd(written) == 9
    (plain,) = models_from_settings(settings("gpt-5.4-mini"))
    assert plain.cost_usd(written) == plain.cost_usd(fresh)
    price = {"input_usd_per_mtok": 4, "output_usd_per_mtok": 8}
    prices = {**price, "cached_input_usd_per_mtok": 1, "cache_write_usd_per_mtok": 5}
    (mixed,) = models_from_settings(settings("gpt-5.6", **prices))
    usage = Usage(1_000_000, 0, cached_tokens=500_000, cache_write_tokens=300_000)
    assert mixed.cost_usd(usage) == pytest.approx(0.5 * 1 + 0.3 * 5 + 0.2 * 4)


def test_what_the_file_knows_reaches_the_model_and_can_be_overridden(monkeypatch) -> None:
    """Whether it thinks, and how much it can write: no more is asked of it."""
    (known,) = models_from_settings(settings("gpt-6-luna"))
    assert (known.reasoning, known.max_output_tokens) == (True, 32_768)
    (own,) = models_from_settings(settings("gpt-6-luna", max_output_tokens=999, reasoning=False))
    assert (own.reasoning, own.max_output_tokens) == (False, 999)
    monkeypatch.setitem(known_models().models, "mine", KnownModel(max_output_tokens=1_000))
    (small,) = models_from_settings(settings("mine"))
    assert small.max_output_tokens == 1_000


def test_the_file_is_of_the_installed_prices_and_has_its_sources() -> None:
    """A new version of the package needs a new date, and each entry a source."""
    known = known_models()
    assert known.prices.version == version(known.prices.package)
    assert all(
        model.source.startswith("https://") and model.date for model in known.models.values()
    )
    assert known_model("models/gpt-5-mini-2025-08-07").end_of_life == dt.date(2026, 12, 11)
    assert known_model("nothing").end_of_life is None


async def test_a_model_that_ends_within_a_month_is_warned_of(caplog) -> None:
    """One line for each such model, and none for the others."""

    class Task:
        stopping = False

    today = dt.datetime.now(dt.UTC).date()
    ends = {"soon": 29, "gone": -1, "later": 32}
    models = [
        Model(name, "p", name, end_of_life=today + dt.timedelta(days=days))
        for name, days in ends.items()
    ]
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(warn_of_ends([*models, Model("x", "p", "x")], Task()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
    assert [message.split()[5] for message in caplog.messages] == ["soon", "gone"]


@pytest.mark.parametrize("kind", ["chat", "embedding"])
def test_an_embedding_has_no_output_to_pay_for(kind: str) -> None:
    """Published or configured, its price is that of its input; a chat model needs both."""
    embeds = kind == "embedding"
    (listed,) = models_from_settings(settings("text-embedding-3-small", kind=kind))
    assert listed.is_priced is embeds
    assert listed.context_tokens == 8_192
    assert listed.cost_usd(Usage(1_000_000, 0)) == pytest.approx(0.02 if embeds else 0)
    (own,) = models_from_settings(settings("mine", kind=kind, input_usd_per_mtok=3.0))
    assert own.is_priced is embeds
    assert own.price_source == ("configuration" if embeds else None)
