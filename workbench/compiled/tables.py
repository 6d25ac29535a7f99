"""Named tuples of arrays that machine code hands on as one table: address and length of each.

    class Machine(NamedTuple):
        code: Annotated[np.ndarray, INSTRUCTION]      the dtype of each array, also "(4,)u8" for
        regs: Words                                   rows of 4 words; or another such tuple

The table has two 64-bit words for each array, those of a tuple in a tuple in its place.
"""

from collections.abc import Iterator
from typing import Annotated, Any, get_type_hints

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np import arrayobj

from workbench.compiled.raw import builtin

Bytes = Annotated[np.ndarray, np.uint8]
Words = Annotated[np.ndarray, np.uint64]
Integers = Annotated[np.ndarray, np.int64]
_WORD = ir.IntType(64)


def array_types(kind: type) -> dict[str, Any]:
    """What a named tuple's fields are, in order: the dtype of an array, or the class of a tuple."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: np.dtype(hint.__metadata__[0]) if hasattr(hint, "__metadata__") else hint
        for name, hint in hints.items()
    }


def table_words(kind: type) -> int:
    """How many words of a table a named tuple of arrays takes."""
    return sum(2 if isinstance(f, np.dtype) else table_words(f) for f in array_types(kind).values())


def table_of(arrays: Any) -> Iterator[int]:
    """The words of a table: the address and length (of the first dimension) of each array."""
    for array in arrays:
        if isinstance(array, tuple):
            yield from table_of(array)
        else:
            yield from (array.ctypes.data, len(array))


def table_reader(kind: type, first: int) -> Any:
    """A function for compiled code: the named tuple at word `first` of the table at an address.

    The arrays must outlive what it returns.
    """
    wanted = _type_of(kind)

    @builtin
    def read(typingctx, table):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            words = builder.inttoptr(args[0], _WORD.as_pointer())
            return _made(context, builder, wanted, words, first)

        return wanted(types.uint64), codegen

    return read


def _type_of(kind: type) -> Any:
    """Numba's type of a named tuple of arrays."""
    parts = [
        types.Array(numba.from_dtype(f.base), 1 + len(f.shape), "C")  # type: ignore[attr-defined]
        if isinstance(f, np.dtype)
        else _type_of(f)
        for f in array_types(kind).values()
    ]
    return types.BaseTuple.from_types(parts, kind)


def _made(context: Any, builder: Any, kind: Any, words: Any, first: int) -> Any:
    """LLVM IR for a tuple whose words begin at `first`."""
    values = []
    for part, field in zip(kind.types, array_types(kind.instance_class).values(), strict=True):
        if isinstance(field, np.dtype):
            values.append(_array(context, builder, part, field, words, first))
            first += 2
        else:
            values.append(_made(context, builder, part, words, first))
            first += table_words(field)
    return context.make_tuple(builder, kind, values)


def _array(context: Any, builder: Any, kind: Any, dtype: np.dtype, words: Any, at: int) -> Any:
    """LLVM IR for an array over memory that it does not own."""
    address, rows = (builder.load(cgutils.gep_inbounds(builder, words, n)) for n in (at, at + 1))
    made = arrayobj.make_array(kind)(context, builder)
    shape = [rows, *(_WORD(length) for length in dtype.shape)]
    strides = np.empty((1, *dtype.shape), dtype.base).strides
    arrayobj.populate_array(
        made,
        data=builder.inttoptr(address, made.data.type),
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, [_WORD(stride) for stride in strides]),
        itemsize=_WORD(dtype.base.itemsize),
        meminfo=None,
    )
    return made._getvalue()
