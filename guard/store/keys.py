"""Which texts are keys of a store: those that every store takes, and that lead to no other place."""

import re

KEY_CHARS_MAX = 512
"""Longest key; S3 takes 1024 bytes including the store's own prefix."""

_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~-]{1,255}")
_PREFIX = re.compile(r"([A-Za-z0-9._~-][A-Za-z0-9._~/-]*)?")


def is_name(name: str) -> bool:
    """One part of a key, between slashes."""
    return _NAME.fullmatch(name) is not None


def is_key(key: str) -> bool:
    return len(key) <= KEY_CHARS_MAX and all(is_name(name) for name in key.split("/"))


def check_key(key: str) -> str:
    """The key itself. Raises ValueError for one that no store takes (characters, length, empty or dotted names)."""
    if not is_key(key):
        raise ValueError(f"Not a key of a store: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself, which may be empty or end within a name. Raises ValueError."""
    folder = prefix.rpartition("/")[0]
    if not _PREFIX.fullmatch(prefix) or (folder and not is_key(folder)):
        raise ValueError(f"Not a prefix of keys of a store: {prefix!r}")
    return prefix
