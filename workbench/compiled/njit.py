"""The one door to numba: `njit` with a cache that sees every edit, and raw memory access.

numba's own cache looks only at the file that defines a function, so a constant changed in
another module would give stale results. Ours lives in a directory named by a hash of all sources
that compiled code can depend on.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic

_COMPILED_SOURCES = (
    "compiled.py",
    "isa.py",
    "addresses.py",
    "memory.py",
    "events.py",
    "functions.py",
    "requests",
    "allocators",
    "faults",
    "arena",
    "maps",
    "engines",
    "engines/jit",
    "debugger/shadow.py",
    "conversion/walks.py",
    "studies/native.py",
    "studies/walks.py",
)
_KEPT_CACHES = 6


def sources() -> list[Path]:
    """The files whose text names the cache: those that compiled code can depend on."""
    root = Path(__file__).parent
    found: list[Path] = []
    for name in _COMPILED_SOURCES:
        path = root / name
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found


def cache_directory() -> Path:
    """Where compiled code is kept: below $WORKBENCH_CACHE, else the user's cache directory."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bpf-arena-workbench"
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sources():
        digest.update(path.read_bytes())
    return Path(os.environ.get("WORKBENCH_CACHE", default)) / digest.hexdigest()[:16]


def _drop_old_caches(current: Path) -> None:
    """Keep the caches of the few newest source versions."""
    others = [path for path in current.parent.glob("????????????????") if path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[_KEPT_CACHES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


_CACHE = cache_directory()


def _usable_cache() -> bool:
    try:
        _CACHE.mkdir(parents=True, exist_ok=True)
        _drop_old_caches(_CACHE)
    except OSError:
        return False
    return os.access(_CACHE, os.W_OK)


_CACHED = _usable_cache()


def njit(
    function: Callable[..., Any] | None = None, *, inline: bool = False, allocates: bool = False
) -> Any:
    """Compile a function with numba, without the GIL, cached by the package's sources.

    `inline` asks LLVM to inline every call. Only a function that `allocates` arrays counts
    references: counting is atomic, and cost two thirds of an allocation of a page. Without a
    writable cache directory the function is compiled anew in each process.
    """
    if function is None:
        return lambda inner: njit(inner, inline=inline, allocates=allocates)
    config: Any = numba.config
    compiler: Any = numba.njit
    before, config.CACHE_DIR = config.CACHE_DIR, str(_CACHE)
    try:
        compiled = compiler(
            cache=_CACHED,
            nogil=True,
            forceinline=inline,
            error_model="numpy",
            boundscheck=False,
            no_cfunc_wrapper=True,
            _nrt=allocates,
        )(function)
    finally:
        config.CACHE_DIR = before
    compiled.get_call_template = _for_any_number(compiled.get_call_template)
    return compiled


def _for_any_number(get_call_template: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a call with a constant as one with any number, and not once for each constant."""

    def get(args: Any, kws: Any) -> Any:
        return get_call_template([types.unliteral(arg) for arg in args], kws)

    return get


COMPILE_ERRORS: tuple[type[Exception], ...] = (numba.core.errors.NumbaError,)
"""What numba raises for a function that it cannot compile."""


class Callback:
    """A function that machine code from elsewhere may call; compiled when it is first wanted."""

    def __init__(self, function: Callable[..., Any], signature: str, cached: bool) -> None:
        self._function, self._signature, self._cached = function, signature, cached

    @cached_property
    def compiled(self) -> Any:
        """Numba's own object, which compiled code takes as an argument; may raise COMPILE_ERRORS.

        Its `address` is a C entry that lasts as long as this object.
        """
        config: Any = numba.config
        before, config.CACHE_DIR = config.CACHE_DIR, str(_CACHE)
        try:
            cached = self._cached and _CACHED
            return numba.cfunc(self._signature, cache=cached)(self._function)
        finally:
            config.CACHE_DIR = before

    @property
    def address(self) -> int:
        """The C entry."""
        return int(self.compiled.address)


def callback(signature: str, cached: bool = True) -> Callable[[Callable[..., Any]], Callback]:
    """Make a Callback of a function; calls need no GIL.

    `signature` is numba's text, such as "int64(uint64)"; `cached` as by `njit`, which a function
    of a notebook cannot be.
    """
    return lambda function: Callback(function, signature, cached)


def _builtin(function: Callable[..., Any]) -> Any:
    """A function that compiled code calls and that writes its own LLVM IR."""
    return _intrinsic(function)


def _loader(bits: int) -> Any:
    result = getattr(types, f"uint{bits}")

    @_builtin
    def load(typingctx, address):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            pointer = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            return builder.load(pointer, align=1)

        return result(types.uint64), codegen

    return load


def _storer(bits: int) -> Any:
    kind = getattr(types, f"uint{bits}")

    @_builtin
    def store(typingctx, address, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            pointer = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            builder.store(args[1], pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.uint64, kind), codegen

    return store


load8, load16, load32, load64 = (_loader(bits) for bits in (8, 16, 32, 64))
store8, store16, store32, store64 = (_storer(bits) for bits in (8, 16, 32, 64))


@_builtin
def swap64(typingctx, address, value):  # type: ignore[no-untyped-def]
    """Exchange the aligned 64-bit word at a host address, atomically; returns what it was."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("xchg", pointer, args[1], "seq_cst")

    return types.uint64(types.uint64, types.uint64), codegen


@_builtin
def give_way(typingctx):  # type: ignore[no-untyped-def]
    """Let another thread have the processor (sched_yield(2))."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(ir.IntType(32), [])
        module, name = builder.module, "sched_yield"
        function = module.globals.get(name) or ir.Function(module, kind, name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@_builtin
def clear_bytes(typingctx, address, count):  # type: ignore[no-untyped-def]
    """Set `count` bytes at a host address to 0."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        builder.call(
            builder.module.declare_intrinsic("llvm.memset", [pointer.type, ir.IntType(64)]),
            [pointer, ir.Constant(ir.IntType(8), 0), args[1], ir.Constant(ir.IntType(1), 0)],
        )
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), codegen


@_builtin
def trailing_zeros(typingctx, word):  # type: ignore[no-untyped-def]
    """Index of the lowest set bit of a non-zero 64-bit word."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@_builtin
def leading_zeros(typingctx, word):  # type: ignore[no-untyped-def]
    """Number of zero bits above the highest set bit of a non-zero 64-bit word."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@_builtin
def byte_swap(typingctx, word):  # type: ignore[no-untyped-def]
    """Reverse the bytes of a 64-bit word."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bswap(args[0])

    return types.uint64(types.uint64), codegen


@_builtin
def call_address(typingctx, address, arguments):  # type: ignore[no-untyped-def]
    """Call the `callback` at a host address with a tuple of 64-bit arguments; returns int64."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        values = [builder.extract_value(args[1], at) for at in range(len(arguments))]
        kind = ir.FunctionType(word, [word] * len(values))
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)

    return types.int64(types.uint64, arguments), codegen


@_builtin
def _pointer(typingctx, address):  # type: ignore[no-untyped-def]
    """A host address as a pointer without a type."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.uint64), codegen


@njit(inline=True, allocates=True)
def array_at(address, count, dtype):  # type: ignore[no-untyped-def]
    """A one-dimensional array over memory at a host address, which must outlive it."""
    return numba.carray(_pointer(address), (count,), dtype)  # type: ignore[attr-defined]
