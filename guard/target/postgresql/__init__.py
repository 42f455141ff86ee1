"""PostgreSQL as a target: one transaction that locks, reads, writes, and commits once the snapshot is durable."""

from guard.target.postgresql.target import PostgresTarget

__all__ = ["PostgresTarget"]
