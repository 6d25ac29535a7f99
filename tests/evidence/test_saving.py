"""Saving: on a full disk, or killed at any moment, the old file is whole; one door writes files."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.paths import ROOT, TESTS
from support.writers import Writer, lost, no_room, writers

from workbench.errors import SaveError, WorkbenchError
from workbench.files import replacing, write_whole

WRITERS = [
    "plain.txt", "run.trace", "run.html", "stepper.html", "run.json", "steps.parquet",
    "figure.pdf", "figure.svg", "figure.pgf", "result.parquet", "frames.pcap", "lab.ipynb",
]  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{TESTS}"}


@pytest.fixture(scope="module")
def every_writer() -> dict[str, Writer]:
    return {writer.name: writer for writer in writers()}


@pytest.mark.parametrize("room", [0, 100])
@pytest.mark.parametrize("name", WRITERS)
def test_no_room_leaves_the_old_file(name, room, every_writer, tmp_path):
    path = tmp_path / name
    every_writer[name].write(path)
    before = path.read_bytes()
    assert lost(every_writer[name], path) == ""
    with no_room(room), pytest.raises(SaveError, match=r"^EFBIG: .*ulimit -f") as caught:
        every_writer[name].write(path)
    assert isinstance(caught.value, WorkbenchError)
    assert name in str(caught.value)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_every_writer_is_tried(every_writer):
    assert sorted(every_writer) == sorted(WRITERS)


def test_a_full_disk(tmp_path):
    """A file system of its own, in a mount namespace, where the machine allows one."""
    small = f"mount -t tmpfs -o size=16k,nr_inodes=9 none {tmp_path}"
    try_it = ["unshare", "-rm", "sh", "-c"]
    try:
        refused = subprocess.run([*try_it, small], capture_output=True, text=True).stderr
    except OSError as error:
        refused = str(error)
    if refused:
        pytest.skip(f"no file system of one's own: {refused.strip()}")
    command = f"{small} && {sys.executable} -m support.writers full {tmp_path}"
    done = subprocess.run([*try_it, command], env=ENVIRONMENT, capture_output=True, text=True)
    assert json.loads(done.stdout or "null") == [], done.stderr


def test_killed_while_saving(scale, tmp_path):
    command = [sys.executable, "-m", "support.writers", "killed", tmp_path, str(scale(10, 200))]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "kept.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_whole(tmp_path / "deep" / "ours", b"")
    usual, ours = ((tmp_path / name).stat().st_mode for name in ("usual", "deep/ours"))
    assert usual == ours


def test_what_is_no_file_is_written_as_it_is():
    read, write = os.pipe()
    write_whole(f"/dev/fd/{write}", "through a pipe")
    os.close(write)
    with open(read) as pipe:
        assert pipe.read() == "through a pipe"
    write_whole("/dev/null", "nowhere")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("name", "errno_name", "cure"),
    [
        (".", "EISDIR", "another name"),
        ("file/below", "EEXIST|ENOTDIR", "another name"),
        ("n" * 300, "ENAMETOOLONG", "another name"),
    ],
)
def test_where_no_file_can_be(name, errno_name, cure, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SaveError, match=rf"^({errno_name}): .*{cure}"):
        write_whole(tmp_path / name, "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_was_protected(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(SaveError, match=r"^EACCES"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_a_name_of_greatest_length(tmp_path):
    write_whole(tmp_path / ("ä" * 127), "x")
    assert os.listdir(tmp_path) == ["ä" * 127]


def test_an_error_in_the_block_is_its_own(tmp_path):
    with pytest.raises(KeyError), replacing(tmp_path / "a"):
        raise KeyError
    assert os.listdir(tmp_path) == []


# Calls that write or remove a file by its path, and the files where they are allowed.
WRITE = {"write_text", "write_bytes", "to_parquet", "to_csv", "replace", "rename"}
REMOVE = {"unlink", "rmtree", "rmdir", "remove", "removedirs"}
MAY_REMOVE = {
    ("files.py", "unlink"),  # its own temporary file
    ("compiled/cache.py", "rmtree"),  # with our marker, in our subfolder
    ("compiled/cache.py", "unlink"),  # entries there
    ("experiments/sweep.py", "unlink"),  # results by their full names
    ("experiments/reproduce.py", "unlink"),  # what says that a sweep has written it
}
ALLOWED = {
    ("files.py", "write_bytes"),
    ("files.py", "replace"),
    ("evidence/provenance.py", "to_parquet"),  # into what `replacing` gives, as the next two
    ("cli/run.py", "to_parquet"),
    ("examples/studies/packets.py", "open"),
    ("objects/compiler.py", "write_text"),  # into a temporary directory
}


def writes(node: ast.Call) -> str:
    """The name of a call that writes, moves or replaces a file; "" for any other."""
    function = node.func
    if isinstance(function, ast.Name) and function.id == "open":
        modes = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant)]
        return "open" if any(set(str(mode)) & set("wxa+") for mode in modes) else ""
    if not isinstance(function, ast.Attribute) or function.attr not in WRITE:
        return ""
    if function.attr == "replace" and len(node.args) != 1 and ast.unparse(function.value) != "os":
        return ""  # of a text, or of a dataclass
    if function.attr == "to_csv" and not node.args:
        return ""  # returns text
    return function.attr if node.args or function.attr != "rename" else ""


def removes(node: ast.Call) -> str:
    """The name of a call that removes files, not an item of a list; "" for any other."""
    called = ast.unparse(node.func).rpartition(".")
    of_list = called[2] == "remove" and called[0] != "os"
    return called[2] if called[2] in REMOVE and not of_list else ""


def calls(kind: Callable[[ast.Call], str]) -> set[tuple[str, str]]:
    """File and name of every such call in the package."""
    found = set()
    for path in (ROOT / "workbench").rglob("*.py"):
        name = str(path.relative_to(ROOT / "workbench"))
        nodes = ast.walk(ast.parse(path.read_text()))
        found |= {(name, what) for n in nodes if isinstance(n, ast.Call) and (what := kind(n))}
    return found


def test_files_are_written_by_one_door():
    assert calls(writes) == ALLOWED


def test_files_are_removed_where_they_are_known_to_be_ours():
    assert calls(removes) == MAY_REMOVE
