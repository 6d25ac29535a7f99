"""What a person at a notebook asks a `Trace` for by a method, and where the answers live.

A recording is below the debugger and the widgets, and knows neither. The table names them; each is
imported when its method is first used, so `trace.stepper()` reads well and imports still point
down. Methods, completion and `help` are those of the functions, whose first argument is the trace.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd

METHODS = {
    "save": ("workbench.recording.file", "save"),
    "window": ("workbench.recording.window", "window"),
    "sanitize": ("workbench.debugger.sanitizer", "sanitize"),
    "diff": ("workbench.debugger.difference", "diff"),
    "fork": ("workbench.debugger.what_if", "fork"),
    "to_perfetto": ("workbench.debugger.perfetto", "to_perfetto"),
    "payload": ("workbench.widgets.enriched", "payload"),
    "stepper": ("workbench.widgets.views", "stepper"),
    "page_map": ("workbench.widgets.views", "page_map"),
    "to_html": ("workbench.widgets.views", "to_html"),
    "beside": ("workbench.widgets.beside", "beside"),
    "_repr_mimebundle_": ("workbench.widgets.picture", "mimebundle"),
}
"""Method -> (module, function): the only names of modules above that `recording` knows."""


class Method:
    """A function of another module as a method: on a class the function, on a value bound to it."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function, imported on first use."""
        return getattr(import_module(self._module), self._name)  # type: ignore[no-any-return]

    def __get__(self, value: object, owner: type) -> Callable[..., Any]:
        return self.function if value is None else MethodType(self.function, value)


if TYPE_CHECKING:

    class _Signatures:
        def save(self, path: str | Path) -> None: ...
        def window(self, first: int, count: int | None = None) -> Self: ...
        def sanitize(self) -> pd.DataFrame: ...
        def diff(self, other: Self) -> pd.DataFrame: ...
        def fork(
            self,
            step: int,
            registers: Mapping[int, int] | None = None,
            memory: Mapping[int, bytes] | None = None,
            fuel: int | None = None,
            seed: int = 1,
        ) -> Self: ...
        def to_perfetto(self, path: str | Path) -> Path: ...
        def payload(self) -> bytes: ...
        def stepper(self, first: int = 0) -> Any: ...
        def page_map(self, first: int = 0) -> Any: ...
        def to_html(
            self, path: str | Path | None = None, title: str | None = None, first: int = 0
        ) -> str: ...
        def beside(self, other: Self) -> Any: ...
        def _repr_mimebundle_(self, **_: object) -> dict[str, str]: ...

else:
    _Signatures = object


class Notebook(_Signatures):
    """The methods of METHODS, for `Trace` to inherit."""


for _method, _place in METHODS.items():
    setattr(Notebook, _method, Method(*_place))
