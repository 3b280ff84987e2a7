"""The committed Avro records: names, docs, ids, and versions that read each other for ever."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import fastavro
import pytest

from kinestream.schemas.catalogue import CATALOGUE
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError, DecodeError
from kinestream.schemas.registry import Registry, committed_ids, committed_schema, latest_schema
from tests.contract.schema_rules import Schema, id_problems, named_types, style_problems, version_problems

SCHEMAS = Path(__file__).parents[2] / "schemas"
FILES = {path.stem: json.loads(path.read_text()) for path in sorted((SCHEMAS / "avro").glob("*.avsc"))}
FINGERPRINTS = json.loads((SCHEMAS / "golden" / "fingerprints.json").read_text())
VERSIONS = {
    record: sorted(names, key=lambda name: int(name.rpartition(".v")[2]))
    for record, names in groupby(FILES, key=lambda name: name.partition(".")[0])
}


@pytest.mark.parametrize("name", FILES)
def test_a_schema_keeps_the_rules_of_names_docs_and_enums(name: str) -> None:
    assert style_problems(FILES[name]) == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_after_its_record_and_version(name: str) -> None:
    record, _, version = name.partition(".v")
    assert FILES[name]["name"] == record
    assert version.isdigit()
    fastavro.parse_schema(copy.deepcopy(FILES[name]))


@pytest.mark.parametrize("record", VERSIONS)
def test_all_versions_of_a_record_read_each_other(record: str) -> None:
    assert version_problems([FILES[name] for name in VERSIONS[record]]) == []


@pytest.mark.parametrize("name", FILES)
def test_a_committed_version_never_changes(name: str) -> None:
    """To change a record, add ``<Record>.v<n + 1>.avsc`` with the next id: bytes of the old one lie in topics."""
    known = FINGERPRINTS[name]
    assert Codec(Registry(), "any").fingerprint(known["id"]) == known["fingerprint"]


def test_every_schema_has_one_id_that_is_never_used_again() -> None:
    text = (SCHEMAS / "avro" / "ids.json").read_text()
    assert id_problems(text, list(FILES), {name: known["id"] for name, known in FINGERPRINTS.items()}) == []


def test_a_type_that_two_records_share_is_the_same_in_both() -> None:
    types: dict[str, Schema] = {}
    for schema in FILES.values():
        for kind in named_types(schema):
            if kind is schema:
                continue  # versions of one record differ, which is what they are for
            assert types.setdefault(kind["name"], kind) == kind


def test_every_record_of_the_catalogue_is_there_and_every_record_has_a_topic() -> None:
    assert {record for topic in CATALOGUE for record in topic.records} == set(VERSIONS)


# -- the checks can fail ----------------------------------------------------------------------------------------------


def field(schema: Schema, name: str) -> dict[str, Any]:
    return next(f for f in schema["fields"] if f["name"] == name)


def without(schema: Schema, name: str) -> None:
    schema["fields"] = [f for f in schema["fields"] if f["name"] != name]


def add(**what: Any) -> Callable[[Schema], None]:
    return lambda schema: schema["fields"].append({"name": "pause_s", "doc": "Pause, s.", **what})


BROKEN: dict[str, tuple[Callable[[Schema], Any], str]] = {
    "a field is renamed": (lambda s: field(s, "episode_id").update(name="take_id"), "take_id"),
    "the record is renamed": (lambda s: s.update(name="EpisodeFinish"), "name_mismatch"),
    "a type changes": (lambda s: field(s, "ended_at_ns").update(type="string"), "type_mismatch"),
    "a type widens": (lambda s: field(s, "ended_at_ns").update(type="double"), "v1 cannot read v2"),
    "a field without a default goes": (lambda s: without(s, "n_total"), "n_total"),
    "a field without a default comes": (add(type="double"), "pause_s has no default"),
    "an enum loses a symbol and its default": (
        lambda s: field(s, "outcome").update(
            type={"type": "enum", "name": "Outcome", "symbols": ["SUCCESS"], "doc": "x"}, default="SUCCESS"
        ),
        "enum",
    ),
    "a union loses a branch": (lambda s: field(s, "content_hash").update(type=["null"]), "v2 cannot read v1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_change_is_found(name: str) -> None:
    change, said = BROKEN[name]
    second = copy.deepcopy(FILES["EpisodeEnd.v1"])
    change(second)
    assert said in " ".join(version_problems([FILES["EpisodeEnd.v1"], second]))


def test_a_removed_default_of_a_later_version_is_found() -> None:
    """v2 added the field rightly; v3 drops the default: v3 could not read what v1 wrote."""
    second, third = (copy.deepcopy(FILES["EpisodeEnd.v1"]) for _ in range(2))
    add(type="double", default=0.0)(second)
    add(type="double")(third)
    assert version_problems([FILES["EpisodeEnd.v1"], second]) == []
    problems = version_problems([FILES["EpisodeEnd.v1"], second, third])
    assert any(problem.startswith("v3 cannot read v1") for problem in problems)
    assert "v3: pause_s has no default" in problems


@pytest.mark.parametrize("what", [{"type": "double", "default": 0.0}, {"type": ["null", "string"], "default": None}])
def test_an_optional_field_is_no_broken_change(what: dict[str, Any]) -> None:
    second = copy.deepcopy(FILES["EpisodeEnd.v1"])
    add(**what)(second)
    assert version_problems([FILES["EpisodeEnd.v1"], second]) == []


UNSTYLED: dict[str, tuple[Callable[[Schema], Any], str]] = {
    "namespace": (lambda s: s.update(namespace="com.acme"), "namespace com.acme"),
    "record": (lambda s: s.update(name="episode_mark"), "episode_mark is not PascalCase"),
    "field": (lambda s: field(s, "label").update(name="labelText"), "labelText is not snake_case"),
    "doc": (lambda s: field(s, "note").pop("doc"), "EpisodeMark.note has no doc"),
    "symbol": (lambda s: field(s, "kind")["type"]["symbols"].append("Cheer"), "MarkKind.Cheer is not UPPER_SNAKE"),
    "enum default": (lambda s: field(s, "kind")["type"].pop("default"), "MarkKind has no default"),
    "inner namespace": (lambda s: field(s, "kind")["type"].update(namespace="x"), "a namespace of its own"),
}


@pytest.mark.parametrize("name", UNSTYLED)
def test_a_breach_of_style_is_found(name: str) -> None:
    change, said = UNSTYLED[name]
    schema = copy.deepcopy(FILES["EpisodeMark.v1"])
    change(schema)
    assert said in " ".join(style_problems(schema))


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ('{"1": "A.v1", "1": "B.v1"}', "id 1 is given twice"),
        ('{"1": "A.v1", "2": "A.v1", "3": "B.v1"}', "A.v1 has two ids"),
        ('{"1": "A.v1"}', "B.v1 has no id"),
        ('{"1": "A.v1", "2": "B.v1", "3": "C.v1"}', "C.v1 has an id and no schema"),
        ('{"1": "B.v1", "2": "A.v1"}', "A.v1 was 1 and is 2"),
    ],
)
def test_a_mistake_in_the_ids_is_found(ids: str, said: str) -> None:
    assert said in " ".join(id_problems(ids, ["A.v1", "B.v1"], {"A.v1": 1}))


# -- the committed schemas as a registry ------------------------------------------------------------------------------


def test_without_a_registry_the_committed_ids_are_used() -> None:
    for schema_id, name in committed_ids().items():
        assert Registry().schema(schema_id) == committed_schema(name) == FILES[name]
        assert Registry().id_of("any.topic", name.partition(".")[0]) == latest_schema(name.partition(".")[0])[0]


def test_an_unknown_id_says_which_ids_are_known() -> None:
    with pytest.raises(DecodeError, match=r"schema id 99: the committed ids are 1, 2, 3") as caught:
        Registry().schema(99)
    assert caught.value.reason == "UNKNOWN_SCHEMA"


@pytest.mark.parametrize("record", ["", "Episode", "EpisodeStart.v1", "episodestart"])
def test_an_unknown_record_says_which_records_there_are(record: str) -> None:
    with pytest.raises(ContractError, match=f"record {record!r} is not ours; the records are EpisodeStart"):
        latest_schema(record)
