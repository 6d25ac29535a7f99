"""Structures as plain fields, against the decoder that walks the types themselves."""

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from support.paths import C_PROGRAMS

from workbench import load_object
from workbench.bpf.declarations import Field
from workbench.objects.btf import Kind
from workbench.objects.values import decode

FILES = sorted(C_PROGRAMS.glob("*.o"))


def value_at(field: Field, content: bytes) -> Any:
    """A field's value as `decode` gives it."""
    part = content[field.offset : field.offset + field.size]
    if field.kind == "bytes":
        return part
    if field.kind == "float":
        return struct.unpack("<f" if field.size == 4 else "<d", part)[0]
    return int.from_bytes(part, "little", signed=field.kind == "int")


def member_of(value: Any, path: str) -> Any:
    """The member "a.b[1]" of nested dicts and lists."""
    for name in path.replace("[", ".[").strip(".").split("."):
        value = value[int(name[1:-1])] if name.startswith("[") else value[name]
    return value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_fields_are_where_the_types_say(path: Path) -> None:
    example = load_object(path)
    structures = next(iter(example.programs.values())).structures
    for layout in structures:
        number = example.types.number_of(layout.name)
        content = random.Random(layout.name).randbytes(layout.size)
        decoded = decode(example.types, number, content)
        for field in layout.fields:
            assert field.offset + field.size <= layout.size
            if example.types[number].kind == Kind.STRUCT:
                assert value_at(field, content) == member_of(decoded, field.name)


def test_variables_and_pointers_have_names() -> None:
    tree = load_object(C_PROGRAMS / "tree.o").program("grow")
    named = {field.name: field for field in tree.variables}
    assert named["root"].to == "rb_node"
    assert (named["nodes"].kind, named["nodes"].size) == ("uint", 8)
    assert [field.kind for field in tree.structures[0].fields].count("pointer") == 3
