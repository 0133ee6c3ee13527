"""The tables. What is deleted keeps its row, and with it its name, until it is purged.

A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Document = JSON().with_variant(JSONB(), "postgresql")
"""JSON that can be searched."""
Ordered = JSON()
"""JSON that keeps the order of its members, which a judge may be shown."""


class Key(TypeDecorator[str]):
    """Text by which callers ask for records. None has a question mark; PostgreSQL takes no NUL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return value and value.replace("\0", "?")


Serial = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database counts up."""


def _owner(table: str) -> ForeignKey:
    return ForeignKey(f"{table}.id", ondelete="CASCADE")


schema_info = Table(
    "schema_info",
    metadata,
    Column("min_reader", Integer, primary_key=True),
    comment="The oldest schema whose programs can work with this one.",
)


def _named(table: str, *own: Column[Any]) -> Table:
    """What has a name, and versions in another table."""
    return Table(
        table,
        metadata,
        Column("id", Key, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("name", Key, nullable=False),
        Column("description", Text, nullable=False),
        *own,
        Column("newest", Integer, nullable=False),
        Column("deleted_ms", BigInteger),
        UniqueConstraint("tenant", "name"),
    )


def _versions(table: str, owner: Table, key: str, *own: Column[Any]) -> Table:
    return Table(
        table,
        metadata,
        Column(key, Key, _owner(owner.name), primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("created_ms", BigInteger, nullable=False),
        *own,
    )


evaluators = _named("evaluators")
evaluator_versions = _versions(
    "evaluator_versions", evaluators, "evaluator_id", Column("spec", Ordered, nullable=False)
)
datasets = _named("datasets", Column("schema", Ordered))
dataset_versions = _versions(
    "dataset_versions",
    datasets,
    "dataset_id",
    Column("items", Integer, nullable=False),
    Column("uploads", Document, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("copied", Integer, nullable=False, comment="The index of the next result to copy."),
    Column("batch", Document, comment="Null until all results are copied."),
    Column("request", LargeBinary),
    Column("sums", Document),
    Index(None, "tenant", "id"),
)

results = Table(
    "results",
    metadata,
    Column("run_id", Text, _owner("runs"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("item_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index(None, "run_id", "item_id"),
)

objects = Table(
    "objects",
    metadata,
    Column("id", Key, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("parent", Key, nullable=False, comment="The id of what it belongs to, or empty."),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Document, nullable=False),
    Index(None, "tenant", "kind", "parent", "id"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("dataset_id", Text, _owner("datasets"), nullable=False, index=True),
    Column("base", Integer, nullable=False, comment="The newest version when it was opened."),
    Column("created_ms", BigInteger, nullable=False),
    Column("published", Integer, nullable=False, comment="0 until a version has its items."),
)

bodies = Table(
    "bodies",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    comment="The content of items, once for each hash.",
)

dataset_items = Table(
    "dataset_items",
    metadata,
    Column("place", Serial, primary_key=True),
    Column("upload_id", Serial, _owner("uploads"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("group", Text),
    Column("split", Text),
    Column("metadata", Document, nullable=False),
    UniqueConstraint("upload_id", "item_id"),
    Index(None, "upload_id", "place"),
    Index(None, "tenant", "digest"),
)

_LABELLED = ("tenant", "dataset", "batch", "item_id", "digest", "criterion", "annotator")

labels = Table(
    "labels",
    metadata,
    Column("id", Key, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("dataset", Text, nullable=False, comment="Empty for items of batches and for cases."),
    Column("batch", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("digest", Text, nullable=False, comment="The hash of the case, with its output."),
    Column("criterion", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("passed", Boolean),
    Column("label", Text),
    Column("score", Float),
    Column("preference", Text),
    Column("comment", Text, nullable=False),
    Column("metadata", Document, nullable=False),
    Column("superseded_by", Text),
    Column("random_sample", Boolean, nullable=False, server_default=false()),
    Index(
        "uq_labels_standing",
        *_LABELLED,
        unique=True,
        sqlite_where=text("superseded_by IS NULL"),
        postgresql_where=text("superseded_by IS NULL"),
    ),
    Index(None, "tenant", "digest"),
    comment="What people say of cases; of one annotator's labels of an item, one stands.",
)
