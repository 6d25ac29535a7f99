"""Compile functions with numba, cached by the package's sources, and hand them to machine code."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numba
from numba import types
from numba.core import sigutils
from numba.core.ccallback import CFunc

from workbench.compiled.kept import keep


def njit(
    function: Callable[..., Any] | None = None, *, inline: bool = False, allocates: bool = False
) -> Any:
    """Compile a function with numba, without the GIL, cached by the package's sources.

    `inline` asks LLVM to inline every call. Only a function that `allocates` arrays counts
    references: counting is atomic, and cost two thirds of an allocation of a page. Where no code
    can be kept the function is compiled anew in each process.
    """
    if function is None:
        return lambda inner: njit(inner, inline=inline, allocates=allocates)
    compiler: Any = numba.njit
    compiled = compiler(
        nogil=True,
        forceinline=inline,
        error_model="numpy",
        boundscheck=False,
        no_cfunc_wrapper=True,
        _nrt=allocates,
    )(function)
    keep(compiled, function)
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
        """Numba's own object, which compiled code takes as an argument.

        Its `address` is a C entry that lasts as long as this object. Raises one of COMPILE_ERRORS
        for a function that numba cannot compile.
        """
        signature = sigutils.normalize_signature(self._signature)
        compiled = CFunc(self._function, signature, locals={}, options={})
        if self._cached:
            keep(compiled, self._function)
        compiled.compile()
        return compiled

    @property
    def address(self) -> int:
        """Host address of the C entry; raises one of COMPILE_ERRORS if it cannot be compiled."""
        return int(self.compiled.address)


def callback(signature: str, cached: bool = True) -> Callable[[Callable[..., Any]], Callback]:
    """Make a Callback of a function; calls need no GIL.

    `signature` is numba's text, such as "int64(uint64)"; `cached` as by `njit`, which a function
    of a notebook cannot be.
    """
    return lambda function: Callback(function, signature, cached)


def guarded(signature: str, function: Callable[..., Any], failed: int) -> tuple[Any, Any]:
    """Compile a user's function of two arguments with indexes checked, also in what it calls.

    Returns it as Python calls it, which raises its errors, and as compiled code does, which gets
    the number `failed` for any of them. May raise COMPILE_ERRORS.
    """
    config: Any = numba.config
    before, config.BOUNDSCHECK = config.BOUNDSCHECK, 1
    try:
        checked: Any = numba.njit(signature, nogil=True)(function)

        def careful(first, second):  # type: ignore[no-untyped-def]
            try:
                return checked(first, second)
            except Exception:
                return failed

        return checked, numba.cfunc(signature)(careful)
    finally:
        config.BOUNDSCHECK = before
