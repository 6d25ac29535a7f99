"""A number has one home: no literal of a helper, kfunc, map type, errno or page outside its own."""

import ast
import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.bpf.functions import FUNCTIONS, HELPERS, KFUNCS, Function, Kfunc
from workbench.bpf.helper_names import Helper
from workbench.bpf.map_types import MAP_TYPES, MapType
from workbench.errors import ArenaError, KernelError, MapError, Refused, errno_name

PACKAGE = Path(__file__).resolve().parents[2] / "workbench"
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}

HOMES = {
    "PAGE_SIZE": "arena/rules.py",
    "PAGE_SHIFT": "arena/rules.py",
    "MAX_FRAMES": "bpf/addresses.py",
    "REGISTERS": "bpf/isa.py",
    "LOW_32": "compiled/raw.py",
}
NO_PAGES = {
    "engines/machine/bound_maps.py": "the most maps a program may name",
    "experiments/bench/engines.py": "a length of text just below 4 KiB",
    "experiments/kernel_allocators.py": "a number of pages",
    "experiments/mutate.py": "an immediate of interest",
    "experiments/seeds.py": "immediates of interest",
    "arena/ranges.py": "two levels of 6 bits each",
    "engines/machine/helpers.py": "a shift of xorshift64*",
    "verifier/paths/calls.py": "MAX_ERRNO",
    "verifier/paths/explore.py": "instructions between two reports of progress",
    "verifier/values/branches.py": "the size of a cache",
    "widgets/explorers.py": "a number of pages",
}
"""Where 12, 4095 or 4096 is no page, and what it is."""
LOW_HALVES = {
    "compiled/raw.py": "the home",
    "verifier/values/tnum.py": "beside MASK, in Python's numbers",
}
OWN_NUMBERS = {
    "bpf/map_types.py": "the home",
    "engines/kernel/syscall.py": "commands of bpf(2), of which some are called like helpers",
}
LLVM_PAGE = re.compile(r"(ashr|lshr|shl) i64 \S+ 12\b|and i64 \S+ -?409[56]\b")
NUMBERED_CALL = re.compile(r"\bcall \d+\b")
ASKED = {"which", "helper", "kfunc"}  # names of what holds the number of a function


def number(node: ast.AST) -> int | None:
    """The number that an expression of literals is, also in np.uint64(...) and the like."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        return number(node.args[0])
    names = any(isinstance(part, ast.Name | ast.Attribute | ast.Call) for part in ast.walk(node))
    if names or not isinstance(node, ast.Constant | ast.BinOp | ast.UnaryOp):
        return None
    value = eval(ast.unparse(node))  # literals and operators alone
    return value if type(value) is int else None


def assigned(tree: ast.Module) -> Iterator[tuple[str, int | None]]:
    """Names given a number in a module, one by one or several from a tuple or a range."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, number(node.value)
            elif isinstance(target, ast.Tuple):
                names = [ast.unparse(name) for name in target.elts]
                yield from zip(names, several(node.value, len(names)), strict=False)


def several(node: ast.AST, count: int) -> list[int | None]:
    if isinstance(node, ast.Tuple):
        return [number(value) for value in node.elts]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "range":
        return list(range(*(number(bound) or 0 for bound in node.args)))
    return [None] * count


def compared(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """What is compared with a literal number, the number, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            numbers = [n for side in sides for n in members(side)]
            for side in sides:
                for found in numbers:
                    yield ast.unparse(side), found, node.lineno


def members(node: ast.AST) -> list[int]:
    """A literal number, or those in a tuple, list or set."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return [n for part in node.elts for n in members(part)]
    found = number(node)
    return [] if found is None else [found]


def texts(tree: ast.Module) -> Iterator[str]:
    """The string constants of a module, f-strings with their expressions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_functions_are_compared_by_name() -> None:
    assert not [
        f"{name}:{line}: {side} and {n}"
        for name, tree in TREES.items()
        for side, n, line in compared(tree)
        if side in ASKED
    ]


def test_map_types_are_compared_by_name() -> None:
    assert not [
        f"{name}:{line}: {side} and {n}"
        for name, tree in TREES.items()
        for side, n, line in compared(tree)
        if re.search(r"Field\.TYPE|map_type", side)
    ]


def test_constants_are_named_at_home() -> None:
    assert not [
        f"{name}: {target}"
        for name, tree in TREES.items()
        for target, _ in assigned(tree)
        if HOMES.get(target, name) != name
    ]


def test_no_second_name_for_a_number_of_linux() -> None:
    known = {**Helper.__members__, **MapType.__members__}
    assert not [
        f"{name}: {target} = {value}"
        for name, tree in TREES.items()
        for target, value in assigned(tree)
        if value is not None and known.get(re.sub("^_|^_?MAP_TYPE_", "", target)) == value
        if name not in OWN_NUMBERS
    ]


def test_errnos_are_those_of_the_standard_module() -> None:
    known = set(errno.errorcode.values()) | {"EOPNOTSUPP"}
    assert not [
        f"{name}: {target}"
        for name, tree in TREES.items()
        for target, _ in assigned(tree)
        if target.lstrip("_") in known
    ]


def test_no_literal_page_size() -> None:
    found = {name: list(page_sizes(tree)) for name, tree in TREES.items()}
    assert {name: lines for name, lines in found.items() if lines and name not in NO_PAGES} == {}
    assert [name for name in NO_PAGES if not found[name]] == []


def page_sizes(tree: ast.Module) -> Iterator[int]:
    """Lines with a number that may be the size of a page, its mask or its shift."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and number(node) in (4095, 4096):
            yield node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift | ast.RShift):
            yield from [node.lineno] * (number(node.right) == 12)
    yield from (0 for text in texts(tree) if LLVM_PAGE.search(text))


def test_no_second_mask_of_the_low_half() -> None:
    found = {
        name
        for name, tree in TREES.items()
        if any(value == (1 << 32) - 1 for _, value in assigned(tree))
    }
    assert found == set(LOW_HALVES)


def test_programs_call_helpers_by_name() -> None:
    programs = [path.read_text() for path in PACKAGE.rglob("*.bpf")]
    programs += [text for tree in TREES.values() for text in texts(tree)]
    assert not [text for text in programs if NUMBERED_CALL.search(text)]


def test_functions_have_the_numbers_of_their_enums() -> None:
    assert {HELPERS[helper].name for helper in HELPERS} == {
        f"bpf_{Helper(helper).name.lower()}" for helper in HELPERS
    }
    assert [row.number for row in KFUNCS.values()] == [kfunc.value for kfunc in Kfunc]
    assert (Helper.MAP_LOOKUP_ELEM, Helper.LOOP, len(Helper)) == (1, 181, 211)


def test_every_column_of_the_functions_is_asked_for() -> None:
    used = "\n".join(path.read_text() for name, path in FILES.items() if name != "bpf/functions.py")
    for column in Function._fields:
        assert len({getattr(row, column) for row in FUNCTIONS}) > 1, f"{column} says nothing"
        assert re.search(rf"(row|function|callee|moves|\])\.{column}\b", used), column


def test_map_types_are_those_of_the_enum() -> None:
    assert {name.upper(): number for name, number in MAP_TYPES.items()} == {
        name: member.value for name, member in MapType.__members__.items()
    }


@pytest.mark.parametrize("error", [ArenaError, MapError, KernelError])
def test_refusals_share_a_base_with_an_errno(error: type[Refused]) -> None:
    with pytest.raises(Refused, match="EINVAL: so") as caught:
        raise error("EINVAL", "so")
    assert caught.value.errno_name == "EINVAL"


def test_names_of_errnos() -> None:
    assert errno_name(errno.ENOENT) == "ENOENT"
    assert errno_name(errno.EOPNOTSUPP) == "EOPNOTSUPP"
    assert (errno_name(524), errno_name(9999)) == ("ENOTSUPP", "errno 9999")
