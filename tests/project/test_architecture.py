"""README, docs/ and the tree say the same: the folders and their order, and every file named."""

import ast
import re
from pathlib import Path

import pytest
from support.paths import ROOT

PACKAGE = ROOT / "workbench"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
LINUX = ("kernel/", "include/", "arch/", "net/", "tools/")  # paths in its sources
_PATH = re.compile(r"`([\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:py|js|toml|md|yml|txt))`")


def order() -> list[str]:
    """The folders in the order that the test of imports holds, bottom up."""
    [path] = (ROOT / "tests").rglob("test_layers.py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER":
            return [name for name in ast.literal_eval(node.value) if (PACKAGE / name).is_dir()]
    raise AssertionError("test_layers.py has no ORDER")


def listed(page: str, heading: str) -> list[str]:
    """First cells of the table below a heading: `folder/` or `module`."""
    text = (ROOT / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)


def test_the_order_has_every_folder_once() -> None:
    folders = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    assert sorted(order()) == folders


@pytest.mark.parametrize(
    ("page", "heading"),
    [("README.md", "Map"), ("docs/architecture.md", "The order of the folders")],
)
def test_pages_list_the_folders_in_their_order(page: str, heading: str) -> None:
    names = listed(page, heading)
    assert [name.rstrip("/") for name in names if name.endswith("/")] == order()
    modules = {name for name in names if not name.endswith("/")}
    assert modules == {path.stem for path in PACKAGE.glob("*.py")} - {
        "__init__",
        "__main__",
        "moved",
    }


def exists(name: str) -> bool:
    """Whether a path from the root, or the end of one in the package, the tests or docs, is one."""
    folders = (PACKAGE, ROOT / "tests", ROOT / "docs")
    return (ROOT / name).exists() or any(next(f.rglob(name), None) for f in folders)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_is_there(page: Path) -> None:
    named = set(_PATH.findall(page.read_text()))
    own = {name for name in named if not re.search("NAME|NN_", name)}
    ours = {name for name in own if not name.startswith(LINUX)}
    assert sorted(name for name in ours if not exists(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\((.*?\.md)\)", (folder / "README.md").read_text())) == pages
    parts = ("Context", "Measured", "Decision", "Consequence")
    for name in pages:
        text = (folder / name).read_text()
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == list(parts), name
