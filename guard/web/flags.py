"""Yes or no, as callers write it: JSON has its own words for that, a query or a form field has texts."""

from typing import Annotated

from pydantic import WithJsonSchema

Flag = Annotated[
    bool,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {
                    "type": "string",
                    "pattern": "^([Tt]([Rr][Uu][Ee])?|[Ff]([Aa][Ll][Ss][Ee])?|[Yy]([Ee][Ss])?|[Nn][Oo]?"
                    "|[Oo]([Nn]|[Ff][Ff])|[01])$",
                },
                {"enum": [0, 1]},
            ]
        }
    ),
]
"""Checked as pydantic does: true, yes, on, t, y, 1 and their contraries, in capitals or not."""
