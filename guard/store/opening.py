"""From the setting store.url to a store."""

import re
from pathlib import Path

from guard.store.base import Store
from guard.store.keys import check_key
from guard.store.local import LocalStore
from guard.store.s3 import S3Store

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(url: str, *, endpoint_url: str | None = None, region: str | None = None) -> Store:
    """The store at `file:path` (relative to the working directory, or absolute) or `s3://bucket/prefix`.

    endpoint_url and region are for S3 only. Blocks for a moment (files are read, a folder is made), so call it before
    the loop has work. Raises ValueError for a url that is none of these, Unavailable where a folder cannot be used.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest:
        return LocalStore(Path(rest.removeprefix("//")))
    if scheme == "s3" and rest.startswith("//"):
        return _open_s3(url, endpoint_url, region)
    raise ValueError(f"store.url must be file:path or s3://bucket/prefix, not {url!r}.")


def _open_s3(url: str, endpoint_url: str | None, region: str | None) -> Store:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.removesuffix("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"store.url names no bucket: {url!r}. It must look like s3://bucket/prefix.")
    if prefix:
        check_key(prefix)
    return S3Store(bucket, prefix, endpoint_url=endpoint_url, region=region)
