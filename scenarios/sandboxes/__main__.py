"""The sandboxes from the command line: `guard sandbox NAME`, or `python -m scenarios.sandboxes NAME`."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette

from scenarios.sandboxes import bamboohr, highlevel, hubspot, keap, salesforce, tryton
from scenarios.sandboxes.common import RateLimits, scaled, serve


@dataclass(frozen=True, slots=True)
class Stand:
    """How a sandbox is begun. `documented` None: the system has no limit, and its records are always the same."""

    create_app: Callable[..., Starlette]
    port: int
    counted: str
    documented: RateLimits | None


STANDS = {
    "bamboohr": Stand(bamboohr.create_app, 8094, "employees", bamboohr.ASSUMED),
    "highlevel": Stand(highlevel.create_app, 8090, "contacts", highlevel.DOCUMENTED),
    "hubspot": Stand(hubspot.create_app, 8091, "contacts", hubspot.DOCUMENTED),
    "keap": Stand(keap.create_app, 8092, "contacts", keap.DOCUMENTED),
    "salesforce": Stand(salesforce.create_app, 8093, "contacts", salesforce.DOCUMENTED),
    "tryton": Stand(tryton.create_app, 8095, "parties", None),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; prints one line with the URL when ready. SystemExit: an argument is wrong."""
    known = vars(_parser().parse_args(arguments))
    name, port = known.pop("name"), known.pop("port")
    serve(STANDS[name].create_app(**known), name, host="127.0.0.1", port=port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="guard sandbox", description="Run a stand-in for a vendor, to try Guard on.")
    names = parser.add_subparsers(dest="name", required=True)
    for name, stand in STANDS.items():
        told = f"{name}'s sandbox alone"
        _add_options(names.add_parser(name, help=told, formatter_class=argparse.ArgumentDefaultsHelpFormatter), stand)
    return parser


def _add_options(parser: argparse.ArgumentParser, stand: Stand) -> None:
    add = parser.add_argument
    add("--port", type=_within(65535), default=stand.port, help="0 takes a free one")
    add("--records", type=_within(), default=100, help=f"{stand.counted} to begin with")
    add("--latency-ms", type=_seconds, default=0.0, dest="latency_s", help="time each answer takes at least")
    if stand.documented:
        _add_limits(parser, stand.documented)


def _add_limits(parser: argparse.ArgumentParser, documented: RateLimits) -> None:
    """Of a hosted vendor."""

    def limits(text: str) -> RateLimits | None:
        return scaled(text if text == "off" else str(_within(least=1)(text)), documented)

    limits.__name__ = "number of requests"  # what argparse calls it in its refusal
    unit = f"requests per {documented.interval_s:.0f} s, or off"
    parser.add_argument("--rate-limit", type=limits, default=str(documented.per_interval), dest="limits", help=unit)
    parser.add_argument("--seed", type=int, default=1, help="another number makes other people")


def _within(most: int = 10_000_000, least: int = 0) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not least <= (value := int(text)) <= most:
            raise ValueError
        return value

    number.__name__ = f"number from {least} to {most}"
    return number


def _seconds(milliseconds: str) -> float:
    return _within()(milliseconds) / 1000


_seconds.__name__ = "number of milliseconds"


if __name__ == "__main__":
    main()
