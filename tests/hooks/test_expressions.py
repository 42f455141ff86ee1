"""JMESPath within bounds: hostile payloads and expressions end in a sentence, soon."""

from typing import Any

import pytest

from guard.hooks.expressions import BadExpression, Budget, CannotLookUp, Expression

DOUBLING_LIST = " | ".join(["[@, @][]"] * 150)
DOUBLING_TREE = " | ".join(["[@, @]"] * 150)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b[0]", 1),
        ("missing", None),
        ("'fixed'", "fixed"),
        ("a.b[] | [?@ > `1`]", [2]),
        ("to_string(a)", '{"b":[1,2]}'),
        ("join(', ', ['x', 'y'])", "x, y"),
        ("length(a.b)", 2),
        ("sort_by([{n: `2`}, {n: `1`}], &n)[0].n", 1),
    ],
)
def test_it_finds_what_jmespath_finds(text: str, found: Any) -> None:
    assert found == Expression(text).look_up({"a": {"b": [1, 2]}}, Budget())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("contacts[", "character 10"),
        ("a b", "character 3"),
        ("a.größe", "character 5"),
        ("'open", "character"),
        ("a[?b=1]", "character"),
        ("nope(@)", "no function nope()"),
        ("a[?nope(@)]", "no function nope()"),
        ("join(@)", "takes 2"),
        ("length(a, b)", "takes 1"),
        ("not_null()", "1 or more"),
        ("(" * 900, "nested too deep"),
        ("a" * 3000, "more than 2000"),
    ],
)
def test_what_is_no_expression_is_told_with_its_place_and_without_a_traceback(text: str, told: str) -> None:
    with pytest.raises(BadExpression, match=told.replace("(", r"\(").replace(")", r"\)")):
        Expression(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("join(`5`, a)", {"a": ["x"]}),
        ("to_number(a) | ceil(@)", {"a": "inf"}),
        ("contains('abc', a)", {"a": 5}),
        ("sort_by(a, &b)", {"a": [{"b": 1}, {"b": "x"}]}),
        ("max(a)", {"a": ["x", 1]}),
        ("a[::0]", {"a": [1]}),
        ("map(&length(@), a)", {"a": [1]}),
        ("sum(a)", {"a": [None]}),
        ("keys(a)", {"a": []}),
    ],
)
def test_functions_that_do_not_take_a_value_say_so_without_the_value(text: str, value: Any) -> None:
    with pytest.raises(CannotLookUp) as refused:
        Expression(text).look_up(value, Budget())
    assert "abc" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (DOUBLING_LIST, [1]),
        (DOUBLING_TREE, [1]),
        (f"{DOUBLING_TREE} == `1`", [1]),
        (" | ".join(["to_string([@, @])"] * 90), '"\\'),
        ("join(glue, texts)", {"glue": "x" * 100_000, "texts": ["a"] * 100_000}),
        (f"[{', '.join(['@'] * 150)}] | [{', '.join(['@'] * 150)}] | [{', '.join(['@'] * 150)}][][]", list(range(50))),
        ("map(&[@, @, @], @)", list(range(40_000))),
    ],
    ids=["lists", "trees", "compared", "escapes", "glue", "wide", "map"],
)
def test_what_makes_much_out_of_little_is_stopped(text: str, value: Any) -> None:
    with pytest.raises(CannotLookUp):
        Expression(text).look_up(value, Budget(100_000))


def test_the_budget_is_for_all_lookups_of_a_payload_together() -> None:
    budget, expression = Budget(1000), Expression("a.b")
    for _ in range(200):
        assert expression.look_up({"a": {"b": 1}}, budget) == 1
    with pytest.raises(CannotLookUp):
        [expression.look_up({"a": {"b": 1}}, budget) for _ in range(200)]


def test_a_payload_nested_as_deep_as_json_may_be_is_looked_up_or_refused() -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    assert Expression("[0][0][0]").look_up(deep, Budget()) == deep[0][0][0]
    for text in ("to_string(@)", "@ == [@]", "[@, @]"):
        try:
            Expression(text).look_up(deep, Budget())
        except CannotLookUp as refused:
            assert "nested" in str(refused)  # noqa: PT017 - which of them Python takes depends on its version
