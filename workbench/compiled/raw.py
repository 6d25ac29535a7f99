"""Loads, stores, atomics and calls at host addresses, and bit tricks, for compiled code."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic

LOW_32 = np.uint64(0xFFFFFFFF)
"""Mask of a word's low half: of an arena's address, or what 32-bit operations look at."""


def builtin(function: Callable[..., Any]) -> Any:
    """A function that compiled code calls and that writes its own LLVM IR."""
    return _intrinsic(function)


def _loader(bits: int) -> Any:
    result = getattr(types, f"uint{bits}")

    @builtin
    def load(typingctx, address):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            pointer = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            return builder.load(pointer, align=1)

        return result(types.uint64), codegen

    return load


def _storer(bits: int) -> Any:
    kind = getattr(types, f"uint{bits}")

    @builtin
    def store(typingctx, address, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            pointer = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            builder.store(args[1], pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.uint64, kind), codegen

    return store


load8, load16, load32, load64 = (_loader(bits) for bits in (8, 16, 32, 64))
store8, store16, store32, store64 = (_storer(bits) for bits in (8, 16, 32, 64))


@builtin
def swap64(typingctx, address, value):  # type: ignore[no-untyped-def]
    """Exchange the aligned 64-bit word at a host address, atomically; returns what it was."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("xchg", pointer, args[1], "seq_cst")

    return types.uint64(types.uint64, types.uint64), codegen


@builtin
def give_way(typingctx):  # type: ignore[no-untyped-def]
    """Let another thread have the processor (sched_yield(2))."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(ir.IntType(32), [])
        module, name = builder.module, "sched_yield"
        function = module.globals.get(name) or ir.Function(module, kind, name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@builtin
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


@builtin
def trailing_zeros(typingctx, word):  # type: ignore[no-untyped-def]
    """Index of the lowest set bit of a non-zero 64-bit word."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@builtin
def leading_zeros(typingctx, word):  # type: ignore[no-untyped-def]
    """Number of zero bits above the highest set bit of a non-zero 64-bit word."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@builtin
def byte_swap(typingctx, word):  # type: ignore[no-untyped-def]
    """Reverse the bytes of a 64-bit word."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bswap(args[0])

    return types.uint64(types.uint64), codegen


@builtin
def call_address(typingctx, address, arguments):  # type: ignore[no-untyped-def]
    """Call the `callback` at a host address with a tuple of 64-bit arguments; returns int64."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        values = [builder.extract_value(args[1], at) for at in range(len(arguments))]
        kind = ir.FunctionType(word, [word] * len(values))
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)

    return types.int64(types.uint64, arguments), codegen
