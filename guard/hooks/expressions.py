"""JMESPath (https://jmespath.org), compiled once and looked up within bounds.

Payloads come from anybody, and an expression may multiply what it finds: `[@, @][] | [@, @][] | …` doubles a list at
each step. So every lookup has a budget, which visits and everything that is newly made use up.
"""

from collections.abc import Iterator
from typing import Any

from jmespath import exceptions, functions, parser, visitor

from guard.core.limits import HOOK_EXPRESSION_CHARS_MAX, HOOK_STEPS_MAX, HOOK_TEXT_CHARS_MAX

_MAKING = frozenset({"multi_select_list", "multi_select_dict", "function_expression"})
"""Nodes whose result may hold the same thing several times, so it is weighed whole."""
_LISTING = frozenset({"projection", "filter_projection", "value_projection", "flatten", "slice"})
"""Nodes whose result is a new list of what is there already."""
_TEXT_WEIGHT = 16
"""So many characters weigh as much as one member."""

Failures = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the library's functions raise on odd values besides their own errors, which are ValueErrors."""


class BadExpression(ValueError):
    """It is no JMESPath; in words, with the place in it."""


class CannotLookUp(Exception):
    """The expression cannot be looked up in this payload; why, in words without the payload's values."""


class Budget:
    """What looking up may still cost, for all expressions of one payload."""

    def __init__(self, steps: int = HOOK_STEPS_MAX) -> None:
        self.left = steps
        self.interpreter = _Interpreter(self)

    def spend(self, steps: int) -> None:
        """Raises CannotLookUp."""
        self.left -= steps
        if self.left < 0:
            raise CannotLookUp("it takes too long or finds too much; send the payload in parts")


class Expression:
    """Raises BadExpression where the text is none, or names a function that there is not."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parsed = _parse(text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def look_up(self, value: Any, budget: Budget) -> Any:
        """What it finds in the value; None where it finds nothing. Raises CannotLookUp."""
        try:
            return budget.interpreter.visit(self._parsed, value)
        except exceptions.JMESPathTypeError as error:
            raise CannotLookUp(_type_error(error)) from None
        except RecursionError:
            raise CannotLookUp("the payload is nested too deep for it") from None
        except Failures as error:
            raise CannotLookUp(
                f"one of its functions does not take what it was given ({type(error).__name__})"
            ) from None


def kind(value: Any) -> str:
    """What a value is, in words for people who do not program; never the value itself."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "an empty list" if not value else f"a list of {len(value)}"
    return {"str": "a text", "dict": "an object"}.get(type(value).__name__, "a number")


def _parse(text: str) -> Any:
    if len(text) > HOOK_EXPRESSION_CHARS_MAX:
        raise BadExpression(f"the expression has more than {HOOK_EXPRESSION_CHARS_MAX} characters")
    if not text.strip():
        raise BadExpression("the expression is empty")
    try:
        parsed = parser.Parser().parse(text).parsed
        for node in _functions_of(parsed):
            _refuse_unknown_function(node)
    except RecursionError:
        raise BadExpression("the expression is nested too deep") from None
    except exceptions.ParseError as error:
        raise BadExpression(_syntax_error(error, text)) from None
    except exceptions.JMESPathError as error:
        raise BadExpression(str(error)) from None
    return parsed


def _syntax_error(error: exceptions.ParseError, text: str) -> str:
    incomplete = isinstance(error, exceptions.IncompleteExpressionError)
    place = len(text) if incomplete else min(int(error.lex_position), len(text))
    what = "it ends too early" if incomplete else "it cannot be understood from here on"
    return f"not JMESPath: character {place + 1} of {text!r}: {what}"


def _functions_of(node: Any) -> Iterator[Any]:
    if isinstance(node, dict) and "type" in node:
        if node["type"] == "function_expression":
            yield node
        for child in node.get("children", ()):
            yield from _functions_of(child)


def _refuse_unknown_function(node: Any) -> None:
    name, given = node["value"], len(node["children"])
    spec = _Functions.FUNCTION_TABLE.get(name)
    if spec is None:
        raise BadExpression(f"there is no function {name}() in JMESPath")
    takes = len(spec["signature"])
    open_ended = bool(takes and spec["signature"][-1].get("variadic"))
    if given < takes or (given > takes and not open_ended):
        raise BadExpression(f"the function {name}() takes {takes}{' or more' if open_ended else ''}, not {given}")


def _type_error(error: exceptions.JMESPathTypeError) -> str:
    takes = " or ".join(str(each) for each in error.expected_types)
    given = functions.TYPES_MAP.get(str(error.actual_type), error.actual_type)
    return f"its function {error.function_name}() takes {takes}, and was given {given}"


class _Interpreter(visitor.TreeInterpreter):
    def __init__(self, budget: Budget) -> None:
        super().__init__(visitor.Options(custom_functions=_Functions()))
        self._budget = budget

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().visit(node, *args, **kwargs)
        made = node["type"]
        if made in _MAKING:
            self._budget.spend(_weight(found, self._budget.left))
        elif made in _LISTING and found is not None:
            self._budget.spend(1 + len(found))
        else:
            self._budget.spend(1)
        return found


class _Functions(functions.Functions):
    """The two functions that can make much out of little are told beforehand how much."""

    @functions.signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, glue: str, texts: list[str]) -> str:
        _refuse_long(sum(map(len, texts)) + len(glue) * len(texts))
        return glue.join(texts)

    @functions.signature({"types": []})
    def _func_to_string(self, value: Any) -> Any:
        _refuse_long(_weight(value, HOOK_TEXT_CHARS_MAX, text_weight=1))
        return super()._func_to_string(value)  # type: ignore[misc]  # the stubs leave it out


def _refuse_long(chars: int) -> None:
    if chars > HOOK_TEXT_CHARS_MAX:
        raise CannotLookUp(f"it makes a text of more than {HOOK_TEXT_CHARS_MAX} characters")


def _weight(value: Any, most: int, *, text_weight: int = _TEXT_WEIGHT) -> int:
    """How much a value is, counting what it holds several times several times; gives up beyond `most`."""
    weight, stack = 0, [value]
    while stack and weight <= most:
        each = stack.pop()
        weight += 1
        if isinstance(each, str):
            weight += len(each) // text_weight
        elif isinstance(each, list):
            weight += len(each)
            stack.extend(each[: most + 1])
        elif isinstance(each, dict):
            weight += len(each) + sum(map(len, each)) // text_weight
            stack.extend(each.values())
    return weight
