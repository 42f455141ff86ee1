"""The folder of scenario files, as it is now: what is changed, added or taken away there is noticed without a restart.

A hook's own file is read whenever it is called, so that a change counts for the next call; besides, somebody looks
through the folder every few seconds, so that a broken file is in the log before a call meets it. A file that cannot be
used leaves the version before it in service. Each copy of Guard looks for itself.
"""

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from guard.core.limits import HOOK_FILE_BYTES_MAX, HOOK_LOOK_S
from guard.hooks.model import Hook
from guard.hooks.reading import Known, Mistake, Unusable, is_name, read
from guard.settings import SettingsError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Standing:
    """A scenario file: what it serves, and what is wrong with it."""

    name: str
    hook: Hook | None
    """The last good version; None: there has been none since Guard was started."""
    content: bytes = b""
    """Of the file as it was last read, good or not."""
    mistakes: tuple[Mistake, ...] = field(default=())
    target: str = ""
    """The target it names, where that much can be read."""

    @property
    def state(self) -> str:
        if not self.mistakes:
            return "serving"
        return "serving_older" if self.hook else "broken"

    @property
    def may_have_changed(self) -> bool:
        """Though its file has not."""
        return bool(self.mistakes or (self.hook and self.hook.secrets))

    def is_same(self, content: bytes, hook: Hook) -> bool:
        serves = not self.mistakes and content == self.content
        return serves and self.hook is not None and self.hook.signing_keys == hook.signing_keys


class Folder:
    """`path` None: there are no hooks. Raises SettingsError where it is none."""

    def __init__(self, path: Path | None, known: Known) -> None:
        if path is not None and not path.is_dir():
            raise SettingsError(f"scenarios.folder: there is no folder {path}")
        self._path = path
        self._known = known
        self._standing: dict[str, Standing] = {}
        self._lock = threading.Lock()
        """Looking is done in threads; of two that look at once, the second finds what the first has read."""

    async def hook(self, name: str) -> Standing | None:
        """A hook as its file says now; None: there is none of this name."""
        if self._path is None or not is_name(name):
            return None
        await asyncio.to_thread(self._look, name)
        return self._standing.get(name)

    async def all(self) -> list[Standing]:
        """In the order of their names."""
        await asyncio.to_thread(self.look)
        return [self._standing[name] for name in sorted(self._standing)]

    async def look_forever(self) -> None:
        """Cancelled when the process ends."""
        while self._path is not None:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(HOOK_LOOK_S)

    def look(self) -> None:
        """Also at unchanged files that are broken or name secrets: a secret may be there by now, or another one."""
        if self._path is None:
            return
        try:
            there = {path.stem for path in self._path.glob("*.toml") if not path.name.startswith(".")}
        except OSError:
            there = set()
        for name in sorted(there | set(self._standing)):
            self._look(name, again=True)

    def _look(self, name: str, *, again: bool = False) -> None:
        with self._lock:
            before = self._standing.get(name)
            try:
                content = self._content(name)
            except OSError as error:
                self._stands(before, name, Unusable([Mistake(f"{name}.toml", 1, _unreadable(error))]))
                return
            if content is None:
                if self._standing.pop(name, None):
                    log.info("hook_removed", hook=name)
            elif before is None or content != before.content or (again and before.may_have_changed):
                try:
                    hook = read(f"{name}.toml", content, self._known)
                except Unusable as unusable:
                    self._stands(before, name, unusable, content)
                else:
                    if before is None or not before.is_same(content, hook):
                        self._standing[name] = Standing(name, hook, content, target=hook.target)
                        log.info("hook_loaded", hook=name)

    def _content(self, name: str) -> bytes | None:
        """None: the file is gone. Raises OSError, also where the folder itself is gone: nobody has removed the file."""
        assert self._path is not None  # noqa: S101 - whoever looks has asked
        path = self._path / f"{name}.toml"
        if not path.is_file():
            next(self._path.iterdir(), None)
            return None
        with path.open("rb") as file:
            return file.read(HOOK_FILE_BYTES_MAX + 1)

    def _stands(self, before: Standing | None, name: str, unusable: Unusable, content: bytes = b"") -> None:
        mistakes = tuple(unusable.mistakes)
        hook = before.hook if before else None
        target = hook.target if hook else unusable.target
        self._standing[name] = Standing(name, hook, content, mistakes, target)
        if before is None or before.mistakes != mistakes:
            state = self._standing[name].state
            log.warning("hook_broken", hook=name, state=state, mistakes=[str(each) for each in mistakes])


def _unreadable(error: OSError) -> str:
    return f"the file cannot be read ({error.strerror or type(error).__name__})"
