"""Values of records as pages show them. They come from forms that anybody can fill in: nothing of them is taken for
markup, marks that turn or hide text show themselves, and the size of a page does not depend on that of a value."""

import re
from typing import Any

from markupsafe import Markup

from guard.core.limits import VALUE_CHARS, VALUE_CHARS_MAX

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What does not show and may deceive. Not among them: the joiners of emoji, Persian and Indian scripts."""


def plain(value: Any) -> str:
    """A value as a person would write it down."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(plain(each) for each in value)
        case dict():
            return ", ".join(f"{name}: {plain(each)}" for name, each in value.items())
        case None:
            return "empty"
        case _:
            return str(value)


def visible(text: str) -> Markup:
    """Escaped; what is hidden in it stands there by its number."""
    parts, end = [], 0
    for found in _HIDDEN.finditer(text):
        parts += [Markup.escape(text[end : found.start()]), _MARK.format(ord(found[0]))]
        end = found.end()
    return Markup("").join([*parts, Markup.escape(text[end:])])


_MARK = Markup('<span class="mark">U+{:04X}</span>')


def isolated(text: Any) -> Markup:
    """A text from outside within a sentence of ours: neither may turn the other's direction."""
    return Markup("<bdi>{}</bdi>").format(visible(str(text)))


def value(given: Any) -> Markup:
    """A value in a cell: cut, with more of it on demand."""
    if given is None or given in ("", [], {}):
        return Markup('<i class="empty">empty</i>')
    text = plain(given)
    if len(text) <= VALUE_CHARS:
        return isolated(text)
    shown = min(len(text), VALUE_CHARS_MAX)
    cut = f"cut here; it has {len(text):,} characters" if shown < len(text) else ""
    return _LONG.format(visible(text[:VALUE_CHARS]), shown, visible(text[VALUE_CHARS:shown]), cut)


_LONG = Markup(
    '<bdi>{}</bdi>… <details class="more"><summary>Show up to {:,} characters</summary>'
    '<bdi>…{}</bdi> <i class="empty">{}</i></details>'
)


def cut(text: Any, most: int = 100) -> Markup:
    """A name or a title, which must not fill the page."""
    text = str(text)
    return isolated(text if len(text) <= most else f"{text[: most - 1]}…")
