"""What the README tells a newcomer to type works, and what it names is there."""

import re
from pathlib import Path

import pytest
from support.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("workbench.engines.interpreter.engine")
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("exit 42\n")
    assert "<script" in (tmp_path / "run.html").read_text()


def test_the_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(re.findall(r"\bmake (\w+)(?=`|  )", README)) <= set(phony.split())


@pytest.mark.parametrize("line", [r for r in README.splitlines() if r.startswith("| `0")])
def test_the_notebooks_exist(line: str) -> None:
    if not (ROOT / "notebooks").is_dir():
        pytest.skip("no notebooks yet")
    name = line.split("`")[1]
    assert (ROOT / "notebooks" / f"{name}.ipynb").is_file()
