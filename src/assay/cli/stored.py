"""`assay evaluators` and `assay datasets`: what the service keeps under a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from assay.cli import listing, options
from assay.cli.app import app, examples, notice, usage_error
from assay.cli.rows import Source
from assay.client.cases import ITEM_FIELDS
from assay.errors import NotFound

Name = Annotated[str, typer.Argument(help="Its name, or name@version.")]
PlainName = Annotated[str, typer.Argument(help="Its name.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]

evaluators_app = typer.Typer(
    help="Criteria with a judge, a name and versions.", no_args_is_help=True
)
datasets_app = typer.Typer(help="Cases with a name and versions.", no_args_is_help=True)
app.add_typer(evaluators_app, name="evaluators")
app.add_typer(datasets_app, name="datasets")


def _add_list_and_delete(
    group: typer.Typer, kind: Literal["evaluators", "datasets"], content: str
) -> None:
    """Add what both kinds have; `content` is the field that says what a version holds."""
    one = f"{'an' if kind == 'evaluators' else 'a'} {kind[:-1]}"
    columns = {name: name for name in ("name", "version", content)}
    columns |= {"created": "created_at", "description": "description"}

    @group.command(
        "list",
        help=f"List the {kind}, newest first.",
        epilog=examples(f"assay {kind} list", f"assay {kind} list --json | jq .{content}"),
    )
    def list_entries(
        limit: listing.Limit = listing.LIMIT,
        as_json: listing.JsonLines = False,
        url: options.Url = options.DEFAULT_URL,
        api_key_file: options.ApiKeyFile = None,
    ) -> None:
        with listing.service(url, api_key_file) as client:
            found = getattr(client, kind).list()
            listing.print_listing(found, columns, limit=limit, as_json=as_json)

    @group.command(
        "delete",
        help=f"Delete {one} with all its versions.",
        epilog=examples(f"assay {kind} delete old-name --yes"),
    )
    def delete(
        name: PlainName,
        yes: listing.Yes = False,
        url: options.Url = options.DEFAULT_URL,
        api_key_file: options.ApiKeyFile = None,
    ) -> None:
        listing.confirm(f"Delete the {kind[:-1]} {name} with all its versions?", yes=yes)
        with listing.service(url, api_key_file) as client:
            getattr(client, kind).delete(name)
        notice(f"assay: the {kind[:-1]} {name} is deleted")


_add_list_and_delete(evaluators_app, "evaluators", "criteria")
_add_list_and_delete(datasets_app, "datasets", "items")


@evaluators_app.command("show", epilog=examples("assay evaluators show support-quality@2"))
def show_evaluator(
    name: Name,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Print an evaluator as JSON."""
    plain, _, version = name.partition("@")
    with listing.service(url, api_key_file) as client:
        if not version:
            listing.print_document(client.evaluators.get(plain))
            return
        found = (one for one in client.evaluators.versions(plain) if str(one["version"]) == version)
        document = next(found, None)
        if document is None:
            usage_error(f"{plain} has no version {version}")
        listing.print_document(document)


@evaluators_app.command(
    "create",
    epilog=examples(
        'assay evaluators create polite --criteria "The answer is polite."',
        "assay evaluators create polite --criteria @criteria.json --new-version",
    ),
)
def create_evaluator(
    name: PlainName,
    *,
    criteria: options.CriteriaOption,
    judge: options.JudgeOption = None,
    description: Description = None,
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Add a version to an evaluator that exists.")
    ] = False,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Save criteria under a name; prints the evaluator."""
    read = options.read_criteria(criteria)
    with listing.service(url, api_key_file) as client:
        save = client.evaluators.add_version if new_version else client.evaluators.create
        fields = {} if description is None else {"description": description}
        listing.print_document(save(name, read, judge=judge, **fields))


@datasets_app.command("show", epilog=examples("assay datasets show support-questions"))
def show_dataset(
    name: Name,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Print a dataset as JSON, without its items."""
    plain, version = _named(name)
    with listing.service(url, api_key_file) as client:
        listing.print_document(client.datasets.get(plain, **version))


@datasets_app.command(
    "upload",
    epilog=examples(
        "assay datasets upload questions cases.csv",
        "assay datasets upload questions more.jsonl --append",
    ),
)
def upload_dataset(
    name: PlainName,
    source: options.SourceFile,
    *,
    form: options.FormatOption = None,
    append: Annotated[
        bool, typer.Option("--append", help="Keep the items of the version before.")
    ] = False,
    description: Description = None,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Make a version of the items in a file; makes the dataset, too, if there is none.

    A column with another name than the fields of a case, "id", "group" and "split" is in the
    item's "fields".
    """
    read = replace(options.read_source(source, form, None), columns=ITEM_FIELDS)
    with listing.service(url, api_key_file) as client:
        rows = list(_items(read)) if read.is_stdin else _Items(read)
        try:
            client.datasets.get(name)
        except NotFound:
            client.datasets.create(name, **({"description": description} if description else {}))
        listing.print_document(client.datasets.upload(name, rows, append=append))


@datasets_app.command(
    "download", epilog=examples("assay datasets download questions@1 --out items.jsonl")
)
def download_dataset(
    name: Name,
    out: listing.OutFile = "-",
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Write the items of a dataset as JSON Lines."""
    plain, version = _named(name)
    with listing.service(url, api_key_file) as client:
        listing.save_lines(client.datasets.items(plain, **version), out)


class _Items:
    """The items in a file, from its beginning each time: for a retry."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return _items(self._source)


def _items(source: Source) -> Iterator[dict[str, Any]]:
    try:
        for row in source.rows():
            if row.case is None:
                usage_error(f"{source.path}: line {row.line}: {row.fault}")
            yield row.case if row.id is None else {"id": row.id, **row.case}
    except OSError as error:
        usage_error(f"{source.path}: {error.strerror or error}")


def _named(name: str) -> tuple[str, dict[str, str]]:
    plain, _, version = name.partition("@")
    return plain, {"version": version} if version else {}
