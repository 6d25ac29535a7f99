"""The one door to numba, and memory that costs nothing until it is touched.

njit    compile a function, cached by the package's sources; callbacks for machine code
cache   where compiled code is kept, and which sources name it
raw     loads, stores and calls at host addresses, from compiled code
tables  named tuples of arrays, handed to compiled code as addresses and lengths
lazy    arrays committed page by page, and memory at an address of our choice

`njit` of this package is the function, not the module that defines it.
"""

from workbench import moved
from workbench.compiled.njit import njit

__all__ = ["njit"]

__getattr__ = moved.parts(__name__)
