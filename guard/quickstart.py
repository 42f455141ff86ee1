"""`guard serve` without settings: a sandbox as target, the local store, a key. Nothing to prepare."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guard.settings import Settings, parse

FOLDER = Path("guard-data")


@contextmanager
def quickstart(host: str, port: int) -> Iterator[tuple[Settings, str]]:
    """Settings for trying Guard, with a sandbox running for as long as the block lasts, and words to print."""
    from scenarios.sandboxes.common import running  # noqa: PLC0415 - only who tries Guard needs a sandbox
    from scenarios.sandboxes.highlevel import create_app  # noqa: PLC0415
    from scenarios.sandboxes.highlevel_seed import LOCATION_ID  # noqa: PLC0415

    key, secret = _kept_secrets()
    os.environ |= {"GUARD_QUICKSTART_KEY": key, "GUARD_QUICKSTART_SECRET": secret, "GUARD_QUICKSTART_TOKEN": _TOKEN}
    with running(create_app(records=100, token=_TOKEN)) as sandbox_url:
        public_url = f"http://{host}:{port}"
        settings = parse(
            {
                "server": {"public_url": public_url, "secret_keys": [{"env": "GUARD_QUICKSTART_SECRET"}]},
                "store": {"url": f"file:{FOLDER}"},
                "clients": [{"name": "try", "key": {"env": "GUARD_QUICKSTART_KEY"}, "targets": ["crm"]}],
                "targets": {
                    "crm": {
                        "handler": "highlevel",
                        "credential": {"env": "GUARD_QUICKSTART_TOKEN"},
                        "base_url": sandbox_url,
                        "options": {"location_id": LOCATION_ID},
                    }
                },
            },
            "quick start",
        )
        yield settings, _words(public_url, sandbox_url, key)


_TOKEN = "sandbox-token"  # noqa: S105 - the sandbox's, which guards nothing


def _kept_secrets() -> tuple[str, str]:
    """Kept beside the data, so that revert URLs still work after a restart."""
    path = FOLDER / "quickstart.json"
    if not path.exists():
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps([secrets.token_urlsafe(24), secrets.token_urlsafe(32)]))
    key, secret = json.loads(path.read_text())
    return key, secret


def _words(public_url: str, sandbox_url: str, key: str) -> str:
    return f"""\
Guard runs with a HighLevel sandbox of 100 contacts as its target `crm`. Nothing real is touched.

  sandbox   {sandbox_url}
  key       {key}

Try it:
  curl -H 'Guard-Key: {key}' '{public_url}/to/crm/contacts/?locationId=sandboxLocation00001&limit=3'
  curl -X PUT -H 'Guard-Key: {key}' -H 'Content-Type: application/json' -i \\
       -d '{{"firstName": "Oops"}}' {public_url}/to/crm/contacts/AN_ID_FROM_ABOVE
and open the address in the answer's Guard-Revert-Url header.
"""
