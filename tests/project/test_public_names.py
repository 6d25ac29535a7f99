"""What `import workbench as wb` offers, and `python -m workbench`."""

import subprocess
import sys
from types import ModuleType

import pytest

import workbench as wb


@pytest.mark.parametrize("name", dir(wb))
def test_every_listed_name_is_there(name: str) -> None:
    assert getattr(wb, name) is not None


@pytest.mark.parametrize("name", ["plots", "faults", "fragmentation", "conversion", "requests"])
def test_modules_load_on_first_use(name: str) -> None:
    code = f"import workbench as wb; assert {name!r} in dir(wb); print(wb.{name}.__name__)"
    command = [sys.executable, "-W", "error:workbench:DeprecationWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.strip().endswith(f".{name}")
    assert isinstance(getattr(wb, name), ModuleType)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'workbench' has no attribute 'nothing'"):
        _ = wb.nothing


def test_python_m_workbench_is_the_command() -> None:
    command = [sys.executable, "-m", "workbench", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"workbench, version {wb.__version__}\n"
