"""What a declaration says is checked as Linux checks it, before compiled code sees it."""

import numpy as np
import pytest

import workbench as wb
from workbench.bpf.map_types import MapFlag
from workbench.errors import MapError

LOCKS = [
    (wb.MapDefinition("m", "array", 4, 16, 2, lock=10**9), "EINVAL"),
    (wb.MapDefinition("m", "array", 4, 8, 4, lock=100), "EINVAL"),
    (wb.MapDefinition("m", "hash", 4, 8, 4, lock=8), "EINVAL"),
    (wb.MapDefinition("m", "hash", 4, 8, 4, lock=6), "EINVAL"),
    (wb.MapDefinition("m", "hash", 4, 8, 4, lock=1), "EINVAL"),
    (wb.MapDefinition("m", "array", 4, 8, 4, lock=-2), "EINVAL"),
    (wb.MapDefinition("m", "array", 4, 3, 4, lock=0), "EINVAL"),
    (wb.MapDefinition("m", "lru_hash", 4, 8, 4, lock=0), "EOPNOTSUPP"),
    (wb.MapDefinition("m", "percpu_array", 4, 8, 4, lock=0), "EOPNOTSUPP"),
    (wb.MapDefinition("m", "array", 4, 8, 4, MapFlag.RDONLY_PROG, lock=0), "EACCES"),
]
NUMBERS = ["key_size", "value_size", "max_entries", "map_flags", "map_extra"]


@pytest.mark.parametrize(("definition", "errno"), LOCKS)
def test_a_lock_lies_in_the_value(definition: "wb.MapDefinition", errno: str) -> None:
    with pytest.raises(MapError, match=errno):
        wb.Map(definition)


@pytest.mark.parametrize("lock", [0, 4, 12])
def test_a_lock_keeps_its_place(lock: int) -> None:
    with wb.Map(wb.MapDefinition("m", "array", 4, 16, 2, lock=lock)) as map:
        map[1] = b"\xff" * 16
        assert map[1] == b"\xff" * lock + bytes(4) + b"\xff" * (12 - lock)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("number", [-1, -(2**31), 2**64, 2**70, 1.5, None, "4"])
def test_what_bpf_cannot_be_asked_is_refused(name: str, number: object) -> None:
    definition = wb.MapDefinition("m", "hash", 4, 8, 4)._replace(**{name: number})
    with pytest.raises(MapError, match="EINVAL"):
        wb.Map(definition)


def test_numbers_of_numpy_are_numbers() -> None:
    """A product of small ones would wrap around, and the map be smaller than it says."""
    definition = wb.MapDefinition(
        "m", "array", np.uint8(4), np.uint16(512), np.uint16(300), lock=np.int8(-1)
    )
    with wb.Map(definition) as map:
        map[299] = b"\x01" * 512
        assert map.store.values.size == 512 * 300


@pytest.mark.parametrize(
    "definition",
    [
        wb.MapDefinition("m", "array", 4, 1 << 31, 8),
        wb.MapDefinition("m", "hash", 512, 8, 1 << 31),
        wb.MapDefinition("m", "hash", 60_000, 8, 1 << 31),
        wb.MapDefinition("m", "lpm_trie", 8, 8, (1 << 32) - 1, MapFlag.NO_PREALLOC),
    ],
    ids=lambda definition: f"{definition.type}-{definition.key_size}-{definition.value_size}",
)
def test_maps_larger_than_their_addresses_are_refused(definition: "wb.MapDefinition") -> None:
    with pytest.raises(MapError, match=r"E2BIG|ENOMEM"):
        wb.Map(definition)


def test_a_program_with_such_a_map_is_refused() -> None:
    text = """
    .map m array key=4 value=16 entries=2 lock=1000000000
    r1 = m ll
    r0 = 0
    exit
    """
    for engine in (wb.Interpreter, wb.Jit):
        with pytest.raises(MapError, match="EINVAL"):
            engine(wb.assemble(text))
