"""The command line: `guard serve`, and what an operator asks of a store without a server."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import structlog
import typer
import uvicorn
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guard import log
from guard.assembly import assemble, assemble_proven
from guard.checking import check as check_scenario_file
from guard.checking import scenario_files
from guard.core.errors import GuardError, Refused
from guard.flows.guard import Guard
from guard.flows.history import answer, summary
from guard.flows.plan import Narrowing
from guard.flows.recover import Recovery
from guard.flows.revert import RevertAsked, preview, start_revert
from guard.flows.verify import verify_all, verify_run
from guard.hooks.reading import Known
from guard.queue.base import QueueError
from guard.quickstart import SETTINGS as QUICKSTART
from guard.quickstart import quickstart
from guard.settings import Settings, SettingsError, load
from guard.store.base import StoreError
from guard.store.probe import StoreNotFit, prove_create_once
from guard.web.app import create_app
from guard.web.revert import report
from guard.web.runs import instant

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Guard: an undo button for automations.")
scenarios = typer.Typer(no_args_is_help=True, help="Scenario files: webhooks that become operations.")
app.add_typer(scenarios, name="scenarios")

# What is piped is read by programs: no name in it may be cut off at the edge of a terminal that is not there.
out = Console(soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 200)

SETTINGS = Path("guard.toml")

Config = Annotated[Path | None, typer.Option("--config", envvar="GUARD_CONFIG", help="The settings, a TOML file.")]


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
) -> None:
    """Run the server. Without settings: on the local store, with a sandbox as target, and a key to try it with."""
    log.configure(json=not sys.stderr.isatty())
    path = config or (SETTINGS if SETTINGS.exists() else None)
    with _explained(), _listening(host, port) as sock:
        if path:
            _serve(load(path), sock)
        else:
            with quickstart(host, sock.getsockname()[1]) as (settings, words):
                out.print(words)
                _serve(settings, sock)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket of our own: an address that cannot be had is told in words, and the port is known beforehand."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
    with sock:
        yield sock


def _serve(settings: Settings, sock: socket.socket) -> None:
    # uvicorn ends what is under way and then raises the signal again; to have ended in order is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    guard = asyncio.run(_proven(settings))
    _Server(
        guard,
        uvicorn.Config(
            create_app(guard),
            # Addresses hold revert tokens, tracebacks may hold record contents: Guard logs for itself.
            access_log=False,
            log_config=None,
            log_level="critical",
            server_header=False,
            timeout_graceful_shutdown=30,
        ),
    ).run([sock])


async def _proven(settings: Settings) -> Guard:
    """Prove the store in a loop of its own, then put Guard together afresh for the server's."""
    await (await assemble_proven(settings)).close()
    return assemble(settings)


class _Server(uvicorn.Server):
    """Says where it listens as soon as it does; told to end, it has Guard begin nothing more at once."""

    def __init__(self, guard: Guard, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._guard = guard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._guard.draining.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            # What is there now stays: looking through it again and again is a tenth of a long operation's time.
            gc.collect()
            gc.freeze()
            listening = self.servers[0].sockets[0].getsockname()
            structlog.get_logger().info("listening", url=f"http://{listening[0]}:{listening[1]}")
            print(f"guard: http://{listening[0]}:{listening[1]}", flush=True)


@app.command()
def demo(
    *,
    stay: Annotated[bool, typer.Option("--stay", help="Leave the servers up, to click through.")] = False,
    records: Annotated[int, typer.Option(min=50, help="Candidates in the sandbox.")] = 1000,
) -> None:
    """Ruin a thousand candidates with a bulk import, and take it back with one URL."""
    from scenarios import demo as story  # noqa: PLC0415 - the demo brings the sandbox along; nothing else needs it

    raise typer.Exit(story.main(stay=stay, records=records))


@app.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True}, help="Run a stand-in for a vendor alone."
)
def sandbox(arguments: Annotated[list[str] | None, typer.Argument(metavar="NAME [OPTIONS]")] = None) -> None:
    from scenarios.sandboxes.__main__ import main  # noqa: PLC0415 - see demo

    main(arguments or [])


@app.command()
def runs(
    config: Config = None,
    target: Annotated[str | None, typer.Option(help="Only runs that wrote to this target.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs opened since, e.g. 2026-01-31.")] = None,
) -> None:
    """List runs, newest first."""

    async def work(guard: Guard) -> None:
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("run", "opened", "status", "target", "action", "records", "in doubt", "scenario"):
            table.add_column(name, no_wrap=name in ("run", "status"), overflow="fold")
        oldest = instant(since, "--since")
        async for opened_at, run in guard.journals.newest():
            if oldest and opened_at < oldest:
                break
            state = await guard.journals.state(run)
            operations = list(state.operations.values())
            if target and target not in {operation.target for operation in operations}:
                continue
            told = summary(guard, state, operations)
            cells = [run, told["opened_at"], told["status"], told["target"], told["action"]]
            cells += [told["records_total"], told["records_in_doubt"], told["scenario"] or ""]
            table.add_row(*(Text(str(cell or "")) for cell in cells[:5]), *(Text(str(cell)) for cell in cells[5:]))
        out.print(table)

    _run(config, work)


@app.command()
def show(run: str, config: Config = None) -> None:
    """Show one run: numbers, failures, its revert URL."""

    async def work(guard: Guard) -> None:
        await guard.journals.state(run)
        out.print_json(data=await answer(guard, run))

    _run(config, work)


@app.command()
def revert(
    run: Annotated[str, typer.Argument(help="A run, or a revert URL.")],
    config: Config = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go back.")] = False,
    ids: Annotated[list[str] | None, typer.Option(help="Only these records: id,id,… May be repeated.")] = None,
    fields: Annotated[list[str] | None, typer.Option(help="Only these fields: name,name,…")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also fields that were changed since.")] = False,
) -> None:
    """Take a run back."""

    async def work(guard: Guard) -> None:
        named = guard.run_of(run.rpartition("/revert/")[2]) if "/revert/" in run else run
        if named != run and (await guard.journals.state(named)).revoked:
            raise Refused("revoked_token", "This revert URL was revoked. Name the run itself to take it back.")
        asked = RevertAsked(
            run=named,
            client="command line",
            narrowing=Narrowing(ids=_names(ids, "--ids"), fields=_names(fields, "--fields")),
            on_conflict="force" if force else "skip",
        )
        if dry_run:
            tally, _ = await preview(guard, asked)
            out.print_json(data={"status": "dry_run", **{f"records_{k}": v for k, v in tally.members().items()}})
        else:
            out.print_json(data=await report(guard, await start_revert(guard, asked)))

    _run(config, work)


def _names(texts: list[str] | None, option: str) -> frozenset[str] | None:
    """None: not narrowed. Raises Refused where nothing is named: a script's variable may be empty."""
    if not texts:
        return None
    # An id of several columns is a JSON list, commas and all.
    names = frozenset(n for text in texts for n in ([text] if text.startswith("[") else text.split(",")) if n)
    if not names:
        raise Refused("invalid_request", f"{option} names nothing. Leave it out to take everything back.")
    return names


@app.command()
def revoke(run: str, config: Config = None) -> None:
    """Make a run's revert URL useless."""

    async def work(guard: Guard) -> None:
        await guard.journals.state(run)
        with guard.journals.use(run) as journal:
            await journal.append({"e": "revoked"})
        out.print(f"The revert URL of {run} is revoked.")

    _run(config, work)


@app.command()
def verify(run: Annotated[str | None, typer.Argument(help="One run; else all.")] = None, config: Config = None) -> None:
    """Check digests, chains and completeness. Exits with 1 where stored data is damaged."""

    async def work(guard: Guard) -> None:
        damaged, remarks = 0, 0
        if run:
            await guard.journals.refuse_unknown(run)
        async for finding in verify_run(guard.journals, run) if run else verify_all(guard.journals):
            damaged, remarks = damaged + finding.damage, remarks + (not finding.damage)
            out.print(f"{'DAMAGED' if finding.damage else 'note':8}{finding.run}: {finding.detail}")
        out.print(f"{damaged} damages, {remarks} notes.")
        if damaged:
            raise typer.Exit(1)

    _run(config, work)


@app.command()
def recover(
    config: Config = None,
    *,
    at_once: Annotated[bool, typer.Option("--now", help="Also runs whose lease is not over yet.")] = False,
) -> None:
    """End runs that were cut off: what was sent is settled by reading the target, never sent again."""

    async def work(guard: Guard) -> None:
        found = False
        async for recovered in Recovery(guard).sweep(at_once=at_once):
            found = True
            out.print(f"{recovered.run}: {recovered.detail}")
        if not found:
            out.print("No run is unfinished.")

    _run(config, work)


@app.command()
def check(config: Config = None) -> None:
    """Check the settings, the store, the queue and every target's credential. Exits with 1 where one does not work."""

    async def work(guard: Guard) -> None:
        wrong = await _tell("store", prove_create_once(guard.journals.store))
        wrong += await _tell("queue", guard.queue.check())
        for name, target in guard.targets.items():
            wrong += await _tell(f"target {name}", target.check())
        if wrong:
            raise typer.Exit(1)

    _run(config, work)


@scenarios.command("check")
def scenarios_check(
    folder: Annotated[Path | None, typer.Argument(help="Their folder; else the one that the settings name.")] = None,
    config: Config = None,
) -> None:
    """Find mistakes in scenario files, with file and line, and try their samples. Exits with 1 where there are some."""

    async def work(guard: Guard) -> None:
        named = folder or (Path(guard.settings.scenarios.folder) if guard.settings.scenarios.folder else None)
        if named is None or not named.is_dir():
            raise SettingsError(
                f"there is no folder {named}" if named else "name a folder: scenarios.folder is not set"
            )
        files, wrong = scenario_files(named), 0
        for path in files:
            checked = await check_scenario_file(guard, path, Known.of(guard.settings))
            wrong += bool(checked.mistakes)
            out.print(f"{path}: {'has mistakes' if checked.mistakes else 'good'}")
            for line in (*checked.notes, *map(str, checked.mistakes)):
                out.print(f"  {line}")
        out.print(f"{len(files)} scenario files (*.toml), {wrong} with mistakes. Nothing was written.")
        if wrong or not files:
            raise typer.Exit(1)

    _run(config, work)


async def _tell(what: str, checking: Awaitable[None]) -> int:
    try:
        await checking
    except (GuardError, StoreError, StoreNotFit, QueueError) as error:
        out.print(f"{what}: does not work. {error}")
        return 1
    out.print(f"{what}: works")
    return 0


def _run(config: Path | None, work: Callable[[Guard], Awaitable[None]]) -> None:
    """Do something with a Guard put together from the settings; errors become sentences and exit status 2."""
    log.configure(json=False)

    async def whole() -> None:
        guard = assemble(load(config or _settings_found()))
        try:
            await work(guard)
        finally:
            await guard.close()

    with _explained():
        asyncio.run(whole())


def _settings_found() -> Path:
    """guard.toml; where there is none, what `guard serve` without settings runs with. Raises SettingsError."""
    found = next((path for path in (SETTINGS, QUICKSTART) if path.exists()), None)
    if found is None:
        raise SettingsError(f"there is no {SETTINGS} here; name the settings with --config or GUARD_CONFIG")
    return found


class _explained:  # noqa: N801 - reads as a phrase: with _explained()
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, GuardError | StoreError | StoreNotFit | SettingsError):
            print(f"guard: {error}", file=sys.stderr)
            raise typer.Exit(2) from None


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "160")
    app()
