"""From payload to records: what fits, and for what does not, which expression gave what for which record."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.core.errors import Refused
from guard.hooks.expressions import Budget
from guard.hooks.mapping import mapped
from guard.hooks.model import Hook

FILE = """
target = "crm"
resource = "contacts"
action = "update"
records = "people"
run_key = "run"
records_max = 3
[record]
id = "who"
[record.fields]
name = "join(' ', [first, last])"
city = "city"
[shared.fields]
source = "from"
"""
ANN = {"who": "1", "first": "Ann", "last": "Lee", "city": "Rome"}
PAYLOAD = {"run": 5, "from": "import", "people": [ANN, {**ANN, "who": "2", "city": None}]}


def hook(**changed: Any) -> Hook:
    return Hook.model_validate({**tomllib.loads(FILE), **changed})


def mismatch(payload: Any, **changed: Any) -> dict[str, Any]:
    with pytest.raises(Refused) as refused:
        mapped(hook(**changed), payload)
    assert refused.value.code == "payload_mismatch", refused.value
    assert "Nothing was written" in refused.value.detail
    return {"detail": refused.value.detail, **refused.value.members}


def test_records_are_made_of_items_and_of_what_all_share() -> None:
    records, run_key = mapped(hook(), PAYLOAD)
    fields = {"name": "Ann Lee", "city": "Rome", "source": "import"}
    assert records[0] == {"id": "1", "fields": fields}
    assert records[1] == {"id": "2", "fields": {name: fields[name] for name in ("name", "source")}}
    assert run_key == "5"


def test_fixed_values_lists_and_objects_within_fields() -> None:
    shape = {"id": "who", "fields": {"tags": "['a', 'b']", "pay": {"value": "city", "currency": "'EUR'"}}}
    records, _ = mapped(hook(record=shape, shared={}), {**PAYLOAD, "people": [ANN]})
    assert records == [{"id": "1", "fields": {"tags": ["a", "b"], "pay": {"value": "Rome", "currency": "EUR"}}}]


@pytest.mark.parametrize(
    ("given", "gave", "said"),
    [
        ({"people": None}, "nothing", "gives nothing"),
        ({"people": []}, "an empty list", "nothing to do"),
        ({"people": "x"}, "a text", "gives a text"),
        ({"people": 5}, "a number", "gives a number"),
        ({"people": True}, "true or false", "true or false"),
    ],
)
def test_an_expression_for_records_that_gives_no_list_is_told(given: Any, gave: str, said: str) -> None:
    told = mismatch({**PAYLOAD, **given})
    assert (told["member"], told["expression"], told["gave"]) == ("records", "people", gave)
    assert said in told["detail"]
    assert "record" not in told


@pytest.mark.parametrize("payload", [None, 5, "x", [], [1], {}, {"people": [ANN]}], ids=repr)
def test_payloads_of_another_shape_are_told(payload: Any) -> None:
    assert mismatch(payload)["member"] in ("records", "run_key")


def test_the_second_record_s_missing_id_is_told_with_its_number() -> None:
    told = mismatch({**PAYLOAD, "people": [ANN, {**ANN, "who": None}]})
    assert (told["record"], told["member"], told["expression"], told["gave"]) == (2, "record.id", "who", "nothing")
    assert told["detail"].startswith("Record 2: record.id, the expression 'who', finds nothing.")


def test_a_function_that_does_not_take_a_record_s_value_is_told_without_the_value() -> None:
    told = mismatch({**PAYLOAD, "people": [ANN, {**ANN, "first": {"secret": "canary"}}]})
    assert (told["record"], told["member"], told["gave"]) == (2, "record.fields.name", "an error")
    assert "canary" not in str(told)
    assert "join()" in told["detail"]


def test_items_that_are_no_objects_are_told() -> None:
    told = mismatch({**PAYLOAD, "people": [ANN, "x"]}, record={}, shared={})
    assert (told["record"], told["member"]) == (2, "records")


def test_fields_of_which_none_is_found_are_told() -> None:
    told = mismatch({**PAYLOAD, "people": [{"who": "1"}]}, record={"id": "who", "fields": {"city": "ctiy"}}, shared={})
    assert (told["record"], told["member"], told["gave"]) == (1, "record.fields", "nothing")


def test_what_all_share_and_is_not_there_is_told_without_a_record() -> None:
    told = mismatch({**PAYLOAD, "people": [ANN]}, action="tags.add", record={"id": "who"}, shared={"tags": "labels"})
    assert (told["member"], told["gave"], "record" in told) == ("shared.tags", "nothing", False)


@pytest.mark.parametrize("key", [None, "", " ", True, [1], {"a": 1}, 1.5, "x\ny", "k" * 300], ids=repr)
def test_a_run_key_that_is_none_is_told(key: Any) -> None:
    assert mismatch({**PAYLOAD, "run": key})["member"] == "run_key"


def test_too_many_records_are_refused_by_the_file_s_own_limit() -> None:
    with pytest.raises(Refused, match="4 records; this hook takes 3") as refused:
        mapped(hook(), {**PAYLOAD, "people": [ANN] * 4})
    assert refused.value.code == "too_large"


def test_a_record_that_is_too_large_is_refused() -> None:
    with pytest.raises(Refused, match="Record 1 is larger") as refused:
        mapped(hook(), {**PAYLOAD, "people": [{**ANN, "city": "x" * 2_000_000}]})
    assert refused.value.code == "too_large"


@pytest.mark.parametrize(
    "expression",
    ["to_number('nan')", "to_number('inf')", "to_number(big)", "&city", '`"\\ud800"`'],
)
def test_what_functions_make_and_json_does_not_carry_is_told(expression: str) -> None:
    person = {**ANN, "big": "9" * 40}
    told = mismatch({**PAYLOAD, "people": [person]}, record={"id": "who", "fields": {"x": expression}}, shared={})
    assert told["record"] == 1


def test_a_lookup_that_takes_too_long_is_told() -> None:
    with pytest.raises(Refused, match="in parts") as refused:
        mapped(hook(), PAYLOAD, Budget(20))
    assert refused.value.code == "payload_mismatch"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["run", "people", "who", "first", "last", "city", "from"]), inner, max_size=5)
    ),
    max_leaves=15,
)


@settings(deadline=None, max_examples=60)
@given(values | st.fixed_dictionaries({"run": st.just(1), "people": st.lists(values, max_size=3), "from": values}))
def test_any_payload_gives_records_or_a_refusal(payload: Any) -> None:
    try:
        records, _ = mapped(hook(), payload)
    except Refused as refused:
        assert refused.code in ("payload_mismatch", "too_large")  # noqa: PT017
    else:
        assert all(record["id"] is not None for record in records)
