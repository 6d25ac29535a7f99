"""The maps of a program on a machine: numbers, handles, addresses, and the programs they hold."""

import difflib
from collections.abc import Mapping

import numpy as np

from workbench.bpf import addresses
from workbench.bpf.map_types import MapFlag
from workbench.bpf.program import Program
from workbench.engines.machine.state import MAP_REGIONS
from workbench.errors import Unsupported, WorkbenchError
from workbench.maps import Map, create
from workbench.maps.emulated import EmulatedMap, number_of

MOST = 4096  # maps with a number, those in maps of maps included: bounds the regions to 256 KiB


class BoundMaps:
    """Maps by name, and a number for each map that a program can come by, from 1 on.

    Missing maps are made from what the programs declare. `programs` are the program itself and
    those in its program arrays, `by_name` its maps. Maps put into maps later get numbers as runs
    `begin`; programs put into program arrays later are refused then. Raises Unsupported for a map
    of the kernel's or a missing one, WorkbenchError for a program of another type in an array.
    """

    def __init__(self, program: Program, given: Mapping[str, Map] | None) -> None:
        self.by_name: dict[str, Map] = create(program.maps, given)
        self.programs = [program]
        for name, map in self.by_name.items():
            if not isinstance(map.store, EmulatedMap):
                raise Unsupported(f"map '{name}' is the kernel's; this engine needs workbench.Map")
        self._stores: list[EmulatedMap] = []
        self._collect()
        self._check_names()
        holders = [s.definition for s in self._stores if s.definition.type.endswith("_of_maps")]
        self.room = min(MOST, len(self._stores) + sum(d.max_entries for d in holders))

    def number(self, name: str) -> int:
        """The number of the map of this name; raises Unsupported, with near names."""
        if name not in self.by_name:
            near = difflib.get_close_matches(name, self.by_name, 1)
            hint = f"did you mean '{near[0]}'?" if near else "pass maps={...}, or declare it: .map"
            raise Unsupported(f"there is no map '{name}'; {hint}")
        return self._stores.index(self._store(self.by_name[name])) + 1

    def begin(self, headers: np.ndarray, regions: np.ndarray, cpu: int) -> None:
        """Fill in `headers` by number, and the rows of `regions` for values and keys.

        Raises WorkbenchError where a program was put into a program array after the engine was
        made, and for a per-CPU map without values for `cpu`.
        """
        known = len(self.programs)
        self._collect()
        if len(self.programs) > known:
            held = self.programs[known].name
            raise WorkbenchError(
                f"program '{held}' was put into a program array after the engine was made; "
                "make the engine again"
            )
        for number, store in enumerate(self._stores[: self.room], 1):
            if store.cpus > 1 and cpu >= store.cpus:
                raise WorkbenchError(
                    f"map '{store.definition.name}' has values for {store.cpus} CPUs; "
                    f"this is CPU {cpu}"
                )
            headers[number] = store.address
            writable = not store.definition.map_flags & MapFlag.RDONLY_PROG
            row = MAP_REGIONS + 2 * (number - 1)
            regions[row] = _region(addresses.map_values(number), store.values, writable)
            regions[row + 1] = _region(addresses.map_keys(number), store.keys, False)

    def held_programs(self, first: list[int]) -> np.ndarray:
        """Number and first slot of each program that an array may hold, in turns: uint64[2n]."""
        pairs = zip(self.programs, first, strict=True)
        return np.array([[number_of(p), at] for p, at in pairs], np.uint64).ravel()

    def stores(self) -> list[EmulatedMap]:
        """All maps by number, from 1 on."""
        return self._stores

    def _collect(self) -> None:
        """Number every map that can be reached, and find the programs of program arrays."""
        todo = [self._store(map) for map in self.by_name.values()]
        seen: set[int] = set()
        while todo:
            store = todo.pop(0)
            if id(store) in seen:
                continue
            seen.add(id(store))
            if not any(store is known for known in self._stores):
                self._stores.append(store)
            for held in store.held.values():
                if isinstance(held, Map):
                    todo.append(self._store(held))
                elif isinstance(held, Program):
                    todo += self._add(held)

    def _add(self, program: Program) -> list[EmulatedMap]:
        """Take in a program of a program array; returns the maps that it brings."""
        if any(program is known for known in self.programs):
            return []
        if program.type != self.programs[0].type:
            raise WorkbenchError(
                f"a {self.programs[0].type} program cannot tail-call '{program.name}', "
                f"a {program.type} program"
            )
        self.programs.append(program)
        before = set(self.by_name)
        self.by_name = create(program.maps, self.by_name)
        return [self._store(self.by_name[name]) for name in self.by_name if name not in before]

    def _check_names(self) -> None:
        for program in self.programs:
            for reference in program.references:
                if reference.kind == "map":
                    self.number(reference.name)

    @staticmethod
    def _store(map: Map) -> EmulatedMap:
        assert isinstance(map.store, EmulatedMap)
        return map.store


def _region(start: int, array: np.ndarray, writable: bool) -> tuple[int, int, int, int]:
    return start, array.size, array.ctypes.data, int(writable)
