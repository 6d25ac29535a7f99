"""Objects made of the C sources in tests/objects."""

import pytest

from support.paths import C_SOURCES
from workbench.errors import Unsupported
from workbench.objects import Object, read_object
from workbench.objects.compiler import compile_bytes


def content_of(name: str) -> bytes:
    """Compile one of the sources in tests/objects; skips the test without a compiler."""
    try:
        text = (C_SOURCES / f"{name}.c").read_text()
        return compile_bytes(text, name=f"{name}.c", directory=C_SOURCES)
    except Unsupported as error:
        pytest.skip(str(error))


def compiled(name: str) -> Object:
    return read_object(content_of(name), f"{name}.o")
