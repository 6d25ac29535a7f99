"""Keys and values as Python has them: numbers, tuples or bytes, by a NumPy type or by size."""

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import WorkbenchError

NUMBERS = (1, 2, 4, 8)


class Codec:
    """One kind of bytes: `size` of them, with a NumPy `dtype` or, without, a number if they fit.

    Structures are tuples, anything larger than a number is bytes. Raises WorkbenchError for a dtype
    of another size; `what` names the kind in errors.
    """

    def __init__(self, size: int, dtype: npt.DTypeLike | None, what: str) -> None:
        self.size, self._what = size, what
        kind = f"<u{size}" if dtype is None and size in NUMBERS else dtype
        self._dtype = None if kind is None else np.dtype(kind)
        if self._dtype is not None and self._dtype.itemsize != size:
            raise WorkbenchError(f"a {what} has {size} bytes, {self._dtype} {self._dtype.itemsize}")

    def encode(self, value: Any) -> bytes:
        """Bytes of a value; raises WorkbenchError when it does not fit."""
        if isinstance(value, np.void):
            content = value.tobytes()
        elif isinstance(value, bytes | bytearray | memoryview):
            content = bytes(value)
        elif self._dtype is None:
            raise WorkbenchError(f"a {self._what} of {self.size} bytes is given as bytes")
        else:
            content = self._array(value)
        if len(content) != self.size:
            raise WorkbenchError(f"a {self._what} has {self.size} bytes, not {len(content)}")
        return content

    def decode(self, content: bytes) -> Any:
        """A number, a tuple, or the bytes themselves."""
        return content if self._dtype is None else np.frombuffer(content, self._dtype)[0].item()

    def _array(self, value: Any) -> bytes:
        assert self._dtype is not None
        try:
            if isinstance(value, int) and value < 0 and self._dtype.kind == "u":
                value += 1 << 8 * self.size
            return np.array([value], self._dtype).tobytes()
        except (OverflowError, TypeError, ValueError):
            raise WorkbenchError(f"{value!r} is no {self._what} of {self.size} bytes") from None
