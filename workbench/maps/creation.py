"""The maps that programs declare, made, filled and frozen as a loader does it."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from workbench.bpf.declarations import MapDefinition
from workbench.errors import WorkbenchError
from workbench.maps.map import Map

if TYPE_CHECKING:
    from workbench.bpf.program import Program


def create(
    definitions: Iterable[MapDefinition],
    given: Mapping[str, Map] | None = None,
    programs: "Mapping[str, Program] | None" = None,
    make: Callable[[MapDefinition], Map] = Map,
) -> dict[str, Map]:
    """Make the maps of these definitions, by name; those `given` are taken as they are.

    New maps get their initial content, the maps and the `programs` that their definition names,
    and are frozen if it says so. The arena is left out. `make` makes one map: `Map` an emulated
    one, `workbench.kernel_map` a real one. Raises MapError or KernelError for a map that Linux does
    not make, WorkbenchError for a map or program named by a definition that is not here.
    """
    known = dict(given or {})
    wanted = [d for d in definitions if d.type != "arena"]
    made = {d.name: make(d) for d in wanted if d.name not in known}
    known |= made
    for definition in wanted:
        if definition.name in made:
            _fill(made[definition.name], known, programs or {})
    return known


def _fill(map: Map, maps: Mapping[str, Map], programs: "Mapping[str, Program]") -> None:
    """Put in what the definition names."""
    definition = map.definition
    if definition.initial:
        map[0] = definition.initial.ljust(definition.value_size, b"\0")
    for index, name in enumerate(definition.values):
        if not name:
            continue
        if name not in maps and name not in programs:
            raise WorkbenchError(
                f"map '{map.name}' holds '{name}', which is not here; "
                "pass maps=workbench.maps.create(object.maps, programs=object.programs)"
            )
        map[index] = maps[name] if name in maps else programs[name]
    if definition.frozen:
        map.freeze()
