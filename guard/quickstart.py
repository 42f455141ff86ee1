"""`guard serve` without settings: a sandbox as target, the local store, a key. Nothing to prepare."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guard.settings import Settings, load

FOLDER = Path("guard-data")
SETTINGS = FOLDER / "guard.toml"
"""Written anew at each start, so that the other commands find store and sandbox."""

_HOOKS = FOLDER / "hooks"
_KEY, _SECRET, _TOKEN = FOLDER / "client-key", FOLDER / "secret-key", FOLDER / "sandbox-token"


@contextmanager
def quickstart(host: str, port: int) -> Iterator[tuple[Settings, str]]:
    """Settings for trying Guard, with a sandbox running for as long as the block lasts, and words to print."""
    from scenarios.sandboxes.common import running  # noqa: PLC0415 - only who tries Guard needs a sandbox
    from scenarios.sandboxes.highlevel import create_app  # noqa: PLC0415
    from scenarios.sandboxes.highlevel_seed import LOCATION_ID  # noqa: PLC0415

    key, _, token = (_kept(path) for path in (_KEY, _SECRET, _TOKEN))
    with running(create_app(records=100, token=token)) as sandbox_url:
        public_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        text = _TEXT.format(public_url=public_url, sandbox_url=sandbox_url, location=LOCATION_ID)
        SETTINGS.write_text(text)
        _hooks_kept()
        yield load(SETTINGS), _words(public_url, sandbox_url, key)


_TEXT = f"""\
# Written by `guard serve` without settings. Write your own guard.toml beside this folder to change something.
[server]
public_url = "{{public_url}}"
secret_keys = [{{{{ file = "{_SECRET.as_posix()}" }}}}]
[store]
url = "file:{FOLDER}"
[scenarios]
folder = "{_HOOKS.as_posix()}"
[[clients]]
name = "try"
key = {{{{ file = "{_KEY.as_posix()}" }}}}
targets = ["crm"]
[targets.crm]
handler = "highlevel"
credential = {{{{ file = "{_TOKEN.as_posix()}" }}}}
base_url = "{{sandbox_url}}"
options = {{{{ location_id = "{{location}}" }}}}
"""


def _hooks_kept() -> None:
    """The ready-made scenario files of the sandbox's vendor, to try and to change: what is there already stays."""
    from scenarios import __file__ as beside  # noqa: PLC0415 - see quickstart

    _HOOKS.mkdir(exist_ok=True)
    for name in ("contact-update", "tag-sweep", "stage-move"):
        for path in Path(beside).with_name("hooks").glob(f"{name}.*"):
            if not (_HOOKS / path.name).exists():
                shutil.copyfile(path, _HOOKS / path.name)


def _kept(path: Path) -> str:
    """A secret that is kept beside the data, so that revert URLs still work after a restart."""
    if not (path.exists() and path.read_text()):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


def _words(public_url: str, sandbox_url: str, key: str) -> str:
    return f"""\
Guard runs with a HighLevel sandbox of 100 contacts as its target `crm`. Nothing real is touched.

  sandbox   {sandbox_url}
  key       {key}

Try it:
  curl -H 'Guard-Key: {key}' '{public_url}/to/crm/contacts/?locationId=sandboxLocation00001&limit=3'
  curl -X PUT -H 'Guard-Key: {key}' -H 'Content-Type: application/json' -i \\
       -d '{{"firstName": "Oops"}}' {public_url}/to/crm/contacts/AN_ID_FROM_ABOVE
and open the address in the answer's Guard-Revert-Url header. Or send a webhook; the files in
guard-data/hooks say what becomes of it, and may be changed while Guard runs:
  curl -H 'Guard-Key: {key}' -H 'Content-Type: application/json' \\
       -d @guard-data/hooks/contact-update.sample.json {public_url}/hooks/contact-update
and open the answer's revert_url. In this folder, `guard runs` lists what was done.
"""
