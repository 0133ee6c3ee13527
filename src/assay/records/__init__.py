"""Records in a relational database: a SQLite file, or PostgreSQL."""
