"""`assay models`: the configured models, each checked with one small call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from typing import Annotated, Any, cast, get_args

import typer

from assay.bootstrap import EmbeddedError, ModelLayers, open_models, provider_config, start_logging
from assay.cli import listing, options
from assay.cli.app import Exit, app, examples, printable, usage_error
from assay.cli.configuration import read_settings
from assay.domain.completion import CallContext, Caller, Completion, Prompt, Turn
from assay.domain.decision import Decision, TypedQuestion
from assay.domain.errors import ModelError
from assay.domain.policy import Deadline
from assay.domain.sampling import Sampling
from assay.domain.suggestions import nearest
from assay.settings import ProviderSettings, Settings, Way, list_models
from assay.settings.discovery import Vendor

CHECK_S_MAX = 30.0
CHECKS_AT_ONCE = 16
OUTPUT_TOKENS = 64
"""A model that thinks may be cut before its first word: it has answered all the same."""
PRICES = ("input", "cached_input", "cache_write", "output")
Names = list[str] | str
"""What a provider lists, or why that is not known."""


@app.command(epilog=examples("assay models", "assay models --no-check --available --json"))
def models(
    config: options.ConfigFile = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", "--list", help="Make no calls: list the models only.")
    ] = False,
    available: Annotated[
        bool, typer.Option("--available", help="Show what each provider lists, too.")
    ] = False,
    as_json: listing.JsonLines = False,
) -> None:
    """List the configured models, and check each with one small call.

    A check shows that a model's address, key and name are right. Exit codes: 0 every model
    answered; 1 one did not; 2 the configuration is invalid.
    """
    settings = read_settings(config, log_level="error")
    start_logging(settings)
    try:
        found = asyncio.run(look(settings, checks=not no_check))
    except (OSError, EmbeddedError, ValueError) as error:
        usage_error(str(error))
    rows, listings = found
    if as_json:
        offers = [{"provider": name, "available": names} for name, names in listings.items()]
        listing.write_lines([*rows, *(offers if available else [])], sys.stdout.buffer)
    else:
        lines = [line for row in rows for line in _shown(row)]
        lines += _shown_listings(listings) if available else []
        typer.echo("\n".join(map(printable, lines)))
    failed = any(row["check"] and not row["check"]["ok"] for row in rows)
    raise typer.Exit(Exit.NOT_MET if failed else Exit.OK)


async def look(
    settings: Settings, *, checks: bool
) -> tuple[list[dict[str, Any]], dict[str, Names]]:
    """The models in their order, and what each provider lists."""
    slots = asyncio.Semaphore(CHECKS_AT_ONCE)
    async with open_models(settings) as models:
        names = asyncio.gather(
            *(asyncio.to_thread(_listed, *named) for named in settings.providers.items())
        )
        checked = await asyncio.gather(*(_check(layers, slots) for layers in models if checks))
        listings = dict(zip(settings.providers, await names, strict=True))
        rows = [
            _row(layers, outcome, listings[layers.model.provider])
            for layers, outcome in zip_longest(models, checked)
        ]
    return rows, listings


def _listed(name: str, provider: ProviderSettings) -> Names:
    vendor = provider.protocol.removesuffix("_responses")
    if vendor not in get_args(Vendor):
        return "cannot be asked what it lists"
    try:
        config = provider_config(name, provider)
        way = Way(config.headers(), config.query(), config.proxy(), config.tls())
        found = list_models(provider.url, cast("Vendor", vendor), config.api_key() or "", way)
    except ValueError as error:
        return str(error)
    return sorted(model.name for model in found)


async def _check(layers: ModelLayers, slots: asyncio.Semaphore) -> dict[str, Any]:
    """Whether the model answers, asked directly: no quota, queue or breaker is in between."""
    turn = Turn("user", ("Reply with the word OK.",))
    asked = {"asked": TypedQuestion("noul", "Does it ask for a word?")}
    prompt = Prompt(
        (turn,), _as_it_is, Sampling(OUTPUT_TOKENS), decision=lambda: Decision(turn, asked)
    )
    async with slots:
        context = CallContext(Caller(), Deadline.after(CHECK_S_MAX))
        try:
            completion = await layers.adapted.complete(prompt, context)
        except ModelError as error:
            return {"ok": False, "outcome": error.outcome, "error": error.message}
    return {
        "ok": True,
        "latency_ms": round(completion.latency_ms, 1),
        "usage": completion.usage,
        "cost_usd": completion.cost_usd,
    }


def _as_it_is(completion: Completion[object], *, forms: tuple[str, ...] = ()) -> str:
    _ = forms
    return completion.text


def _row(layers: ModelLayers, outcome: dict[str, Any] | None, names: Names) -> dict[str, Any]:
    model = layers.model
    name = model.name.removeprefix("models/")
    listed = None if isinstance(names, str) else name in names or f"{name}:latest" in names
    return {
        **{
            name: getattr(model, name)
            for name in ("id", "provider", "name", "kind", "host", "simulated")
        },
        **{f"{kind}_usd_per_mtok": getattr(model, f"{kind}_usd_per_mtok") for kind in PRICES},
        "price_source": model.price_source,
        "price_date": model.price_date,
        "context_tokens": model.context_tokens,
        "end_of_life": model.end_of_life,
        "reasoning": model.reasoning,
        "capabilities": asdict(model.capabilities),
        "refused_parameters": sorted(layers.adapted.refused),
        "listed": listed,
        "did_you_mean": nearest(name, names) if listed is False else None,
        "check": outcome,
    }


def _shown(row: Mapping[str, Any]) -> list[str]:
    """A model in a few lines."""
    check = row["check"]
    word = "" if check is None else "ok      " if check["ok"] else "FAILED  "
    lines = [f"{word}{row['id']}: {row['name']} at {row['provider']} {row['host']}".rstrip()]
    if check:
        answered = f"answered in {check['latency_ms']:g} ms" if check["ok"] else check["error"]
        lines.append(f"  {answered}")
    prices = [
        f"${row[f'{kind}_usd_per_mtok']:g} {kind.replace('_', ' ')}"
        for kind in PRICES
        if row[f"{kind}_usd_per_mtok"] is not None
    ]
    source = ", ".join(str(part) for part in (row["price_source"], row["price_date"]) if part)
    shown = f"{', '.join(prices)} per million tokens ({source})" if source else "price unknown"
    lines.append("  simulated" if row["simulated"] else f"  {shown}")
    able = [name for name, is_able in row["capabilities"].items() if is_able]
    takes = f"takes {', '.join(able + ['reasoning'] * row['reasoning']) or 'text only'}"
    lines.append("  embeds texts" if row["kind"] == "embedding" else f"  {takes}")
    if row["refused_parameters"]:
        lines.append(f"  refuses {', '.join(row['refused_parameters'])}")
    if row["end_of_life"]:
        lines.append(f"  ends on {row['end_of_life']}")
    if row["listed"] is False:
        meant = row["did_you_mean"]
        hint = "" if meant is None else f"; did you mean {meant!r}?"
        lines.append(f"  {row['provider']} does not list {row['name']!r}{hint}")
    return lines


def _shown_listings(listings: Mapping[str, Names]) -> list[str]:
    lines = []
    for provider, names in listings.items():
        lines.append(f"{provider} {names}" if isinstance(names, str) else f"{provider} lists")
        lines += [] if isinstance(names, str) else [f"  {name}" for name in names]
    return lines
