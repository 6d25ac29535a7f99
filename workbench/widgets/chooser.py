"""A choice, and below it whatever there is to see of what was chosen."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets


class Chooser(ipywidgets.VBox):
    """A list to choose from; `show(name)` returns what is displayed below, in order.

    Use `choose(name)` from code. In a saved notebook, or where widgets do not work, the first
    choice's HTML stands in its place.
    """

    def __init__(
        self, names: Sequence[str], show: Callable[[str], Sequence[Any]], label: str = "Show"
    ) -> None:
        self._show = show
        self._menu = ipywidgets.Dropdown(
            options=list(names), description=label, layout=ipywidgets.Layout(width="26rem")
        )
        self._place = ipywidgets.Output()
        super().__init__([self._menu, self._place])
        self._menu.observe(self._changed, "value")
        self._draw(self.chosen)

    @property
    def chosen(self) -> str:
        """What is shown now."""
        return str(self._menu.value)

    def choose(self, name: str) -> None:
        """Show another one, as if it had been picked; raises ValueError for one not in the list."""
        if name not in self._menu.options:
            raise ValueError(f"'{name}' is not a choice; there are {', '.join(self._menu.options)}")
        self._menu.value = name

    def _repr_mimebundle_(self, **arguments: Any) -> dict[str, Any]:
        """The widget, and what it shows now as HTML for where there are no widgets."""
        bundle = super()._repr_mimebundle_(**arguments) or {}
        shown = "".join(_html(output["data"]) for output in self._place.outputs)
        return {**bundle, "text/html": f"<p><b>{escape(self.chosen)}</b></p>{shown}"}

    def _changed(self, change: dict[str, Any]) -> None:
        self._draw(change["new"])

    def _draw(self, name: str) -> None:
        """Put what there is to see in the place below; an error is shown there too."""
        from workbench.errors import WorkbenchError

        try:
            parts = list(self._show(name))
        except WorkbenchError as error:
            parts = [f"{name}: {error}"]
        self._place.outputs = tuple(_output(part) for part in parts)


def _output(part: Any) -> dict[str, Any]:
    """One displayed object in the notebook's own form; text is Markdown."""
    from IPython.core.formatters import DisplayFormatter

    if isinstance(part, str):
        content: dict[str, Any] = {"text/markdown": part, "text/plain": part}
        about: dict[str, Any] = {}
    else:
        content, about = DisplayFormatter().format(part)
    # binary images cross as base64 text, as in a notebook file
    return {"output_type": "display_data", "data": content, "metadata": about}


def _html(content: dict[str, Any]) -> str:
    """The HTML of one output; Markdown as plain paragraphs."""
    if "text/html" in content:
        return str(content["text/html"])
    text = escape(content.get("text/plain", "")).replace("**", "").replace("`", "")
    return f"<p>{text.lstrip('# ')}</p>"
