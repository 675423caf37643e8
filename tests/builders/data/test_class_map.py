"""Maps of class names, from texts and files."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from centernet2.builders.data.class_map import class_map_of, parse_class_map, read_class_map
from centernet2.config import Config, ConfigError, load_config


@pytest.mark.parametrize(("given", "pairs"), [
    ("car=vehicle", ("car=vehicle",)),
    (["car=vehicle", "truck = vehicle"], ("car=vehicle", "truck=vehicle")),
    ("a=b,b=a", ("a=b", "b=a")),
    ("person, sitting=person", ("person, sitting=person",)),
    ({"a b": "c"}, ("a b=c",)),
])  # fmt: skip
def test_pairs_are_read(given: str | list[str] | dict[str, str], pairs: tuple[str, ...]) -> None:
    assert read_class_map(given) == pairs


def test_many_pairs_are_no_path() -> None:
    pairs = tuple(f"class {i}=thing {i}" for i in range(80))
    assert read_class_map(",".join(pairs)) == pairs


@pytest.mark.parametrize(("name", "text"), [
    ("map.json", '{"on": "007", "a, b": "c"}'),
    ("map.yaml", "on: 007\na, b: c\n"),
    ("map.txt", "on=007\n\na, b = c\n"),
])  # fmt: skip
def test_files_hold_pairs(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(f"\ufeff{text}", encoding="utf-8")
    assert read_class_map(path) == ("on=007", "a, b=c")
    assert Config().replace({"DATASETS.CLASS_MAP": read_class_map(path)}).datasets.class_map


@pytest.mark.parametrize(("given", "message"), [
    ("", "has '', which is no pair old=new"),
    ("car", "has 'car', which is no pair old=new"),
    ("car=", "has 'car=', which is no pair"),
    ("=car", "has '=car', which is no pair"),
    ("a=b=c", "has 'a=b=c', which is no pair"),
    ("a=b,a=c", "gives 'a' two new names, 'b' and 'c'"),
    ("lost.json", "lost.json: there is no such file"),
    ({"a": ""}, "has '' where a class name is needed"),
])  # fmt: skip
def test_malformed_pairs_are_refused(given: str | dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^--class-map.*{message}"):
        read_class_map(given)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("map.json", '{"a": "b", "a": "c"}', "gives 'a' two new names"),
    ("map.json", '{"a": 1}', "has '1' where a class name is needed"),
    ("map.json", '["a"]', "must hold a dictionary"),
    ("map.json", "{", "is not valid JSON"),
    ("map.json", '{"a": ' + "9" * 5000 + "}", "JSON: it holds an integer of thousands of"),
    ("map.yaml", "a: b\na: c\n", r"line 2: .*the key 'a' occurs twice"),
    ("map.yaml", "a: [b, c]\n", "where a class name is needed"),
    ("map.yaml", "- a\n", "must hold a dictionary"),
    ("map.yaml", "a: b: c\n", "line 1: the YAML cannot be read"),
    ("map.txt", "a b\n", "has 'a b', which is no pair"),
    ("map.txt", "\n", "holds no pair"),
])  # fmt: skip
def test_malformed_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"map\.\w+\b.*{message}"):
        read_class_map(tmp_path / name)


def test_option_precedes_override_precedes_config() -> None:
    override = ["DATASETS.CLASS_MAP", "('a=b',)"]
    assert class_map_of("c=d", override) == ("c=d",)
    assert class_map_of(None, override) == ("a=b",)
    assert class_map_of(None, ["SOLVER.BASE_LR", "1"]) is None
    with pytest.raises(ConfigError, match=r"^DATASETS.CLASS_MAP has 'a', which is no pair"):
        parse_class_map(("a",))


@pytest.mark.parametrize("given", [
    {"cow": "animal", "pig": "animal"},
    MappingProxyType({"cow": "animal", "pig": "animal"}),
    [("cow", "animal"), ["pig", "animal"]],
    [{"cow": "animal"}, "pig=animal"],
    ("cow=animal", "pig=animal"),
    "cow=animal,pig=animal",
])  # fmt: skip
def test_forms_of_python_are_equal(given: Any) -> None:
    pairs = ("cow=animal", "pig=animal")
    assert class_map_of(given) == pairs


@pytest.mark.parametrize("given", [3, True, b"a=b", {"a=b"}, object(), iter(["a=b"]), [7]])
def test_other_types_are_refused_by_name(given: Any) -> None:
    item = given[0] if isinstance(given, list) else given
    with pytest.raises(ConfigError, match=f"--class-map is of type {type(item).__name__}; give a"):
        class_map_of(given)


def test_dictionary_as_an_option(tmp_path: Path) -> None:
    class_map = {"cow": "animal", "pig": "animal"}
    key, pairs = "DATASETS.CLASS_MAP", ("cow=animal", "pig=animal")
    (tmp_path / "own.yaml").write_text("DATASETS: {CLASS_MAP: {cow: animal, pig: animal}}\n")
    assert load_config("CenterNet2_R18_small", {key: class_map})[key] == pairs
    assert load_config("CenterNet2_R18_small", [key, str(class_map)])[key] == pairs
    assert load_config(tmp_path / "own.yaml")[key] == pairs
    assert class_map_of(None, {"DATASETS": {"CLASS_MAP": class_map}}) == pairs
