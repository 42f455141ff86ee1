"""A vendor's API as a target: `target` is the configured system, `work` one operation's passage through it, `settling`
finds out what became of what was sent, `forecast` counts calls beforehand."""

from guard.target.http.target import HttpTarget

__all__ = ["HttpTarget"]
