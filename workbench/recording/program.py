"""A program as JSON and back, with all that a `Program` has: it can be verified and run again."""

from typing import Any

from workbench.bpf.declarations import Field, Layout, MapDefinition, Subprogram
from workbench.bpf.program import Program, Reference, SourceLine


def program_json(program: Program) -> dict[str, Any]:
    """The fields of a program by name; bytes as hexadecimal digits."""
    return {
        "name": program.name,
        "type": program.type,
        "bytecode": program.bytecode.hex(),
        "references": [list(reference) for reference in program.references],
        "lines": [line._asdict() for line in program.lines],
        "license": program.license,
        "maps": [_map_json(definition) for definition in program.maps],
        "subprograms": [function._asdict() for function in program.subprograms],
        "btf": program.btf.hex(),
        "structures": [
            layout._asdict() | {"fields": [list(field) for field in layout.fields]}
            for layout in program.structures
        ],
        "variables": [list(field) for field in program.variables],
    }


def program_of(rows: dict[str, Any]) -> Program:
    """The program that `program_json` wrote; raises KeyError or TypeError for anything else."""
    return Program(
        name=rows["name"],
        type=rows["type"],
        bytecode=bytes.fromhex(rows["bytecode"]),
        references=tuple(Reference(*reference) for reference in rows["references"]),
        lines=tuple(SourceLine(**line) for line in rows["lines"]),
        license=rows["license"],
        maps=tuple(_map_of(row) for row in rows["maps"]),
        subprograms=tuple(
            Subprogram(**row | {"arguments": tuple(row["arguments"])})
            for row in rows["subprograms"]
        ),
        btf=bytes.fromhex(rows["btf"]),
        structures=tuple(
            Layout(row["name"], row["size"], tuple(Field(*field) for field in row["fields"]))
            for row in rows["structures"]
        ),
        variables=tuple(Field(*field) for field in rows["variables"]),
    )


def _map_json(definition: MapDefinition) -> dict[str, Any]:
    inner = definition.inner and _map_json(definition.inner)
    return definition._asdict() | {"inner": inner, "initial": definition.initial.hex()}


def _map_of(row: dict[str, Any]) -> MapDefinition:
    inner = row["inner"] and _map_of(row["inner"])
    parts = {
        "inner": inner,
        "values": tuple(row["values"]),
        "initial": bytes.fromhex(row["initial"]),
    }
    return MapDefinition(**row | parts)
