"""A number has one home: no literal of a helper, kfunc, map type, errno, page or release elsewhere.

The rules read syntax trees. Each is shown, in SAMPLES, the ways in which it could be got round.
"""

import ast
import errno
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.functions import FUNCTIONS, HELPERS, KFUNCS, Function, Kfunc
from workbench.bpf.helper_names import Helper
from workbench.bpf.map_types import MAP_TYPES, MapType
from workbench.bpf.releases import RELEASES
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
    "arena/rules.py": "the home",
    "engines/machine/bound_maps.py": "the most maps a program may name",
    "experiments/bench/engines.py": "a length of text just below 4 KiB",
    "experiments/kernel_allocators.py": "a number of pages",
    "experiments/mutate.py": "an immediate of interest",
    "experiments/seeds.py": "immediates of interest",
    "arena/ranges.py": "two levels of 6 bits each",
    "engines/machine/helpers.py": "a shift of xorshift64*",
    "verifier/paths/calls.py": "MAX_ERRNO",
    "verifier/paths/explore.py": "instructions between two reports of progress",
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
ASKED = re.compile(r"\b(which|helper|kfunc|map_type)$|Field\.TYPE|^['\"]TYPE|MAP_TYPES")
"""What holds the number of a function or map type."""
NUMBERED = re.compile(r"\b(HELPER|KFUNC|MAP_TYPE|MAPS\b)\w*(\.get)?$|^(Helper|Kfunc|MapType)$")
"""What is asked for one by its number."""
ERRNOS = {-errno.EINVAL, -errno.E2BIG, -errno.ENOSPC, -errno.EFAULT, -errno.EEXIST, -errno.ENOMEM}
RELEASE = re.compile(r"[67]\.\d{0,2}")
NAMES_RELEASES = {"bpf/releases.py", "experiments/kernel_allocators.py"}  # that compares two


def number(node: ast.AST) -> int | None:
    """The number that an expression of literals is, also in np.uint64(...) and the like."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        return number(node.args[0])
    if not isinstance(node, ast.Constant | ast.BinOp | ast.UnaryOp):
        return None
    parts = ast.Constant | ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop
    if not all(isinstance(part, parts) for part in ast.walk(node)):
        return None
    value = eval(ast.unparse(node))  # literals and operators alone
    return int(value) if isinstance(value, int | float) and value == int(value) else None


def assigned(tree: ast.Module) -> Iterator[tuple[str, int | None]]:
    """Names given a number in a module, one by one or several from a tuple or a range."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            yield ast.unparse(node.target), number(node.value)
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


def met(node: ast.AST) -> Iterator[tuple[str, list[int]]]:
    """What meets literal numbers in a node: compared with them, matched, named or set so."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        numbers = [n for side in sides for n in members(side)]
        yield from ((ast.unparse(side), numbers) for side in sides if numbers)
    elif isinstance(node, ast.Match):
        values = [v for v in ast.walk(node) if isinstance(v, ast.MatchValue)]
        yield ast.unparse(node.subject), [n for v in values for n in members(v.value)]
    elif isinstance(node, ast.keyword):
        yield node.arg or "", members(node.value)
    elif isinstance(node, ast.arguments):
        given = [*node.posonlyargs, *node.args][::-1], node.defaults[::-1]
        for argument, value in [
            *zip(*given, strict=False),
            *zip(node.kwonlyargs, node.kw_defaults, strict=True),
        ]:
            yield argument.arg, members(value) if value else []
    elif isinstance(node, ast.Call):  # put(m, Field.TYPE, 27)
        for before, after in pairwise(node.args):
            if numbers := members(after):
                yield ast.unparse(before), numbers


def asked(node: ast.AST) -> Iterator[tuple[str, list[int]]]:
    """Tables and enums, and the literal numbers that they are asked for."""
    if isinstance(node, ast.Subscript):
        yield ast.unparse(node.value), members(node.slice)
    elif isinstance(node, ast.Call) and node.args and members(node.args[0]):
        yield ast.unparse(node.func), members(node.args[0])
    elif isinstance(node, ast.Dict):
        keys = [n for key in node.keys if key for n in members(key)]
        if any(isinstance(v, ast.Constant) and str(v.value)[:4] == "bpf_" for v in node.values):
            yield "HELPERS", keys


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


def calls_and_maps(tree: ast.Module) -> Iterator[int]:
    """Lines where functions or map types are told by literal numbers."""
    for node in ast.walk(tree):
        found = any(ASKED.search(side) and numbers for side, numbers in met(node))
        if found or any(NUMBERED.search(table) and numbers for table, numbers in asked(node)):
            yield getattr(node, "lineno", 0)


def errnos(tree: ast.Module) -> Iterator[int]:
    """Lines with the number of an errno, or a name of one's own for it."""
    known = set(errno.errorcode.values()) | {"EOPNOTSUPP"}
    yield from (0 for target, _ in assigned(tree) if target.lstrip("_") in known)
    for node in ast.walk(tree):
        if isinstance(node, ast.UnaryOp) and number(node) in ERRNOS:
            yield node.lineno


def releases(tree: ast.Module) -> Iterator[int]:
    """Lines with the name of a release of Linux, its beginning or its numbers; not in prose."""
    pairs = [[int(part) for part in name.split(".")] for name in RELEASES]
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        named = isinstance(text, str) and RELEASE.fullmatch(text)
        if named or (isinstance(node, ast.Tuple) and members(node) in pairs):
            yield node.lineno


def second_names(tree: ast.Module) -> Iterator[int]:
    """Numbers of helpers and map types that a module gives a name of its own."""
    known = {**Helper.__members__, **MapType.__members__}
    for target, value in assigned(tree):
        if value is not None and known.get(re.sub("^_?(MAP_TYPE_)?", "", target)) == value:
            yield value


RULES: dict[Callable[[ast.Module], Iterator[int]], set[str]] = {
    calls_and_maps: {"bpf/map_types.py"},
    errnos: {"experiments/mutate.py"},  # immediates of interest
    releases: NAMES_RELEASES,
    second_names: OWN_NUMBERS.keys(),
}
"""Rule -> the modules that it does not hold for."""
SAMPLES = {
    calls_and_maps: """
        if which in (1, 2): pass
        match which:
            case 3 | 4: pass
        call(helper=65)
        def call(*, kfunc=65): pass
        def call(a, helper=65): pass
        HELPERS[181]
        HELPER_NAMES.get(181)
        Helper(1)
        Kfunc(np.int64(4))
        MapType(2)
        NAMES = {1: "bpf_map_lookup_elem"}
        create(map_type=27)
        if MAP_TYPES[d.type] == 27: pass
        if 27 != get(m, Field.TYPE): pass
        put(m, Field.TYPE, 27)
        self._set("KEY", 4, "TYPE", 27)
        """,
    errnos: """
        status = np.uint64(-22)
        if status == -17: pass
        EINVAL = 22
        _EINVAL: int = 22
        """,
    releases: """
        if release.name == "6.18": pass
        if release in ("6.12", "6.13"): pass
        match release:
            case "7.3": pass
        verify(program, release="6.12")
        if release.name.startswith("6."): pass
        if version >= (6, 18): pass
        LACKS = {"6.12": 1}
        """,
    second_names: """
        RINGBUF = 27
        _MAP_TYPE_RINGBUF = 27
        RINGBUF: int = 27
        if (MAP_LOOKUP_ELEM := 1): pass
        """,
}


def statements(text: str) -> list[str]:
    """A sample's statements, one by one."""
    return [ast.unparse(node) for node in ast.parse(dedent(text)).body]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_literal_outside_its_home(rule: Callable[[ast.Module], Iterator[int]]) -> None:
    found = {name: list(rule(tree)) for name, tree in TREES.items() if name not in RULES[rule]}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("rule", "statement"),
    [(rule, line) for rule, text in SAMPLES.items() for line in statements(text)],
)
def test_a_rule_sees_a_literal(rule: Callable[[ast.Module], Iterator[int]], statement: str) -> None:
    assert list(rule(ast.parse(statement)))


def test_constants_are_named_at_home() -> None:
    assert not [
        f"{name}: {target}"
        for name, tree in TREES.items()
        for target, _ in assigned(tree)
        if HOMES.get(target, name) != name
    ]


def test_no_literal_page_size() -> None:
    found = {name: list(page_sizes(tree)) for name, tree in TREES.items()}
    assert {name: lines for name, lines in found.items() if lines and name not in NO_PAGES} == {}
    assert [name for name in NO_PAGES if not found[name]] == []


def page_sizes(tree: ast.Module) -> Iterator[int]:
    """Lines with a number that may be the size of a page, its mask or its shift."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.BinOp) and number(node) in (4095, 4096):
            yield node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pow":
            yield from [node.lineno] * ([number(n) for n in node.args] == [2, 12])
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift | ast.RShift):
            yield from [node.lineno] * (number(node.right) == 12)
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.LShift | ast.RShift):
            yield from [node.lineno] * (number(node.value) == 12)
    yield from (0 for name, n in assigned(tree) if n == 12 and "SHIFT" in name.upper())
    yield from (0 for text in texts(tree) if LLVM_PAGE.search(text))


@pytest.mark.parametrize(
    "statement",
    ["a = 2**12", "a = 4 * 1024", "a = 4 << 10", "a = pow(2, 12)", "a / 4096.0", "a >>= 12",
     "a & ~0xFFF", "a & -4096", "_SHIFT = 12", "a << np.uint64(12)", "f'and i64 {v}, -4096'",
     "f'r1 += {4096}'", "'lshr i64 %a, 12'"],
)  # fmt: skip
def test_a_page_size_is_seen(statement: str) -> None:
    assert list(page_sizes(ast.parse(statement)))


def test_javascript_has_the_page_size_once() -> None:
    numbers = re.compile(
        r"\b(4096|4095|(?<!\+)0x1000)n?\b|& 0xfffn?\b|(<<|>>) 12n?\b|2n? ?\*\* ?12n?\b"
    )
    found = {
        path.name: [line for line in path.read_text().splitlines() if numbers.search(line)]
        for path in PACKAGE.rglob("*.js")
    }
    assert {name: lines for name, lines in found.items() if lines} == {
        "sizes.js": [
            f"export const PAGE = {PAGE_SIZE}, PAGE_BYTES = BigInt(PAGE); "
            "// for page numbers, and for addresses"
        ]
    }


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
