"""Numba's cache of a function, in sealed entries of ours: nothing damaged is unpickled.

numba's own has a damaged index raise at every start, and mixes up two processes that fill a cold
cache: each gives its data the same number. Here every entry says what it is the code of.
"""

import inspect
import os
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

from numba.core import caching

from workbench.compiled.cache import Folder

FOLDER = Folder("numba")


def keep(compiled: Any, function: Callable[..., Any]) -> None:
    """Give a dispatcher or C callback of numba a cache; none where the source is not a file."""
    if os.path.exists(inspect.getfile(function)):
        compiled._cache = _Cache(function)


class _Locator(caching.UserProvidedCacheLocator):  # type: ignore[misc]
    """The path of a function's source, which goes into the names of its entries."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._lineno = file, function.__code__.co_firstlineno
        self._cache_path = self.get_suitable_cache_subpath(file)

    def ensure_cache_path(self) -> None:
        """Do nothing: a Folder makes its directory."""

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls(py_func, py_file)


class _Form(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes: ClassVar = [_Locator]  # type: ignore[misc]


class _Entries(caching.IndexDataCacheFile):  # type: ignore[misc]
    """The index of a function's signatures, and the code of each."""

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        found, data = super().load(key) or (None, None)
        return data if found == key else None

    def _load_index(self) -> dict[Any, str]:
        content = FOLDER.load(self._entry(self._index_name)) or pickle.dumps((None, {}))
        try:
            stamp, overloads = pickle.loads(content)
        except Exception:  # what another version of a library has pickled raises anything
            return {}
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        content = self._dump((self._source_stamp, overloads))
        FOLDER.store(self._entry(self._index_name), content)

    def _load_data(self, name: str) -> Any:
        content = FOLDER.load(self._entry(name))
        return pickle.loads(content) if content else None

    def _save_data(self, name: str, data: Any) -> None:
        FOLDER.store(self._entry(name), self._dump(data))

    def _entry(self, name: str) -> str:
        return f"{self._cache_path}-{name}"


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    _impl_class = _Form

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        # not the path of the locator, which a variable of numba's can choose
        source = _Locator.get_suitable_cache_subpath(inspect.getfile(function))
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Entries(source, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # as in `_load_index`
            return None
