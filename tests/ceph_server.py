"""A real Ceph for tests: a monitor, one disk in memory and a gateway, of Debian's packages (.ci/install-ceph).

All of it listens on 127.0.0.1 only, needs no root, and keeps to a folder of its own. The steps are those of
https://docs.ceph.com/en/pacific/install/manual-deployment/.
"""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.servers import CREDENTIALS, S3Server, free_port, process

_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin", "setpriv")
_STEP_TIMEOUT_S = 60.0

# One copy of everything in one place. The disk does not enter itself on start: it may ask for that before it has
# learnt the cluster's id, is refused and ends (seen in one start of six).
_CONF = """
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{mon_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
mon allow pool size one = true
mon data avail crit = 1
osd pool default size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
admin socket =
run dir = {folder}
crash dir = {folder}
log file = {folder}/$name.log
mon cluster log to file = false
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
"""

_ASK_ATTEMPTS_MAX = 15


@dataclass(frozen=True)
class CephServer(S3Server):
    """`environment` is one user's, `other` another's, who may do nothing in the first one's buckets."""

    other: dict[str, str]


def missing_programs() -> list[str]:
    return [name for name in _PROGRAMS if not shutil.which(name)]


@contextmanager
def ceph_server(folder: Path) -> Iterator[CephServer]:
    """An empty Ceph in an empty folder; up in about 12 s. Raises RuntimeError where a step fails."""
    mon_port, port, fsid = free_port(), free_port(), str(uuid.uuid4())
    conf = folder / "ceph.conf"
    conf.write_text(_CONF.format(fsid=fsid, mon_port=mon_port, port=port, folder=folder))
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    settings = {"CEPH_CONF": str(conf)}
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as running:

        def run(*command: str) -> None:
            _step(list(command), settings)

        def ask(*command: str) -> None:
            """A command for the monitor. One that has only just begun may refuse everybody for a moment."""
            for _ in range(_ASK_ATTEMPTS_MAX - 1):
                with suppress(RuntimeError):
                    return run(*command)
                time.sleep(1)
            return run(*command)

        def start(*command: str, ready_url: str | None = None) -> None:
            # Also where the tests are killed, and end nothing themselves, nothing is left running.
            running.enter_context(process(["setpriv", "--pdeathsig", "KILL", *command, "-f"], settings, ready_url))

        keyring, monmap = f"{folder}/keyring", f"{folder}/monmap"
        run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        run("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", "--fsid", fsid, monmap)
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        start("ceph-mon", "-i", "a")
        ask("ceph", "osd", "new", osd := str(uuid.uuid4()))
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        start("ceph-osd", "-i", "0")
        ask("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=local", "root=default")
        other = {"AWS_ACCESS_KEY_ID": "other-access-key", "AWS_SECRET_ACCESS_KEY": "other-secret-key"}
        for name, keys in (("tests", CREDENTIALS), ("other", other)):
            known = [f"--access-key={keys['AWS_ACCESS_KEY_ID']}", f"--secret-key={keys['AWS_SECRET_ACCESS_KEY']}"]
            run("radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}", *known)
        start("radosgw", "-n", "client.rgw", ready_url=url)
        yield CephServer(url, CREDENTIALS, {**CREDENTIALS, **other})


def _step(command: list[str], settings: dict[str, str]) -> None:
    told = subprocess.run(  # noqa: S603 - fixed words, and names and paths of ours
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=_STEP_TIMEOUT_S, check=False
    )
    if told.returncode:
        raise RuntimeError(f"{' '.join(command)}: {told.stderr[-2000:]}")
