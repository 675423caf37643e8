"""YAML of users: types of scalars, and the sentences on what is wrong."""

import re

import pytest
import yaml

from centernet2.yaml_files import Loader, TextLoader, parse_yaml


def test_loader_decides_on_types() -> None:
    text = "nc: 3\nnames: [yes, 1_0]"
    assert parse_yaml(text, "a.yaml") == {"nc": 3, "names": [True, 10]}
    assert parse_yaml(text, "a.yaml", TextLoader) == {"nc": "3", "names": ["yes", "1_0"]}


@pytest.mark.parametrize("loader", [yaml.SafeLoader, TextLoader])
@pytest.mark.parametrize(("text", "message"), [
    ("a: 1\nb: c: d", "a.yaml, line 2: the YAML cannot be read (mapping values are not"),
    ("a: [1, 2", "a.yaml, line 1: the YAML cannot be read (expected ',' or ']'"),
    ("? [a]\n: b", "a.yaml, line 1: the YAML cannot be read (found unhashable key"),
    ("a: \x07", "a.yaml: the YAML cannot be read (not YAML); correct it"),
    ("[" * 3000, "a.yaml: the YAML cannot be read (nested too deeply)"),
])  # fmt: skip
def test_no_yaml_is_one_sentence(text: str, message: str, loader: type[Loader]) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_yaml(text, "a.yaml", loader)


def test_keys_that_occur_twice_are_refused_as_text() -> None:
    with pytest.raises(ValueError, match=r"line 3: the YAML .* \(the key 'a' occurs twice\)"):
        parse_yaml("a: 1\nb: 2\na: 3", "a.yaml", TextLoader)
    assert parse_yaml("a: 1\na: 3", "a.yaml") == {"a": 3}


@pytest.mark.parametrize("scalar", ["9" * 5000, "2026-99-01"])
def test_scalars_that_no_program_reads_are_named(scalar: str) -> None:
    with pytest.raises(ValueError, match=r"a\.yaml has a number or a date that no program"):
        parse_yaml(f"a: {scalar}", "a.yaml")
    assert parse_yaml(f"a: {scalar}", "a.yaml", TextLoader) == {"a": scalar}
