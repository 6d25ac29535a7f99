"""The cache: it removes only its own, runs only what nobody else can write, survives damage."""

import grp
import json
import os
import pickle
import pwd
import re
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.paths import ROOT, TESTS
from support.writers import no_room

from workbench.compiled import cache, kept
from workbench.compiled.cache import Folder, cache_directory
from workbench.compiled.njit import njit
from workbench.compiled.trust import distrust, other_writers
from workbench.files import cache_root

ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{TESTS}"}
ME = SimpleNamespace(pw_name="me", pw_uid=1000, pw_gid=7)
FOLDERS = [f"important-thes{number:02}" for number in range(1, 9)]  # 16 letters each


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """A directory that the cache is told to use, and that holds other things."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("three years")
    return tmp_path


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Folder:
    """An empty folder of the cache, which compiled functions use."""
    place = Folder("numba")
    vars(place)["path"] = tmp_path
    monkeypatch.setattr(kept, "FOLDER", place)
    return place


def untouched(mine: Path) -> bool:
    return all((mine / name / "thesis.tex").read_text() == "three years" for name in FOLDERS)


# Removing


def test_folders_of_the_user_stay(mine):
    code = "import workbench as wb; wb.Arena; wb.Jit"
    subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=True)
    assert untouched(mine)
    assert set(os.listdir(mine)) <= {*FOLDERS, "bpf-arena-workbench"}


def old_caches(mine: Path, count: int = 8) -> list[Path]:
    """Directories such as earlier versions of the sources left; the first is the oldest."""
    made = []
    for number in range(count):
        path = mine / "bpf-arena-workbench" / f"compiled-{number:016x}"
        path.mkdir(parents=True)
        (path / cache.MARKER).write_bytes(cache._MARK)
        os.utime(path, (number, number))
        made.append(path)
    return made


def test_the_newest_six_stay(mine):
    old = old_caches(mine)
    folder = Folder("numba")
    assert folder.path == cache_directory() / "numba"
    assert [path.is_dir() for path in old] == [False] * 3 + [True] * 5
    assert (folder.path.parent / cache.MARKER).read_bytes() == cache._MARK
    assert untouched(mine)


@pytest.mark.parametrize("change", ["no marker", "other marker", "other name", "a link"])
def test_what_is_not_ours_stays(change, mine):
    first = old_caches(mine)[0]
    if change == "no marker":
        (first / cache.MARKER).unlink()
    elif change == "other marker":
        (first / cache.MARKER).write_text("Signature: 8a477f597d28d172789f06886806bc55")
    elif change == "other name":
        first = first.rename(first.with_name("compiled-thesis-of-2026"))
    else:
        first.rename(mine / "elsewhere")
        first.symlink_to(mine / "elsewhere")
    os.utime(first, (0, 0))
    assert Folder("numba").path is not None
    assert first.exists()


def test_a_directory_that_had_something_in_it_is_not_marked(mine):
    directory = cache_directory()
    directory.mkdir(parents=True)
    (directory / "thesis.tex").touch()
    assert Folder("numba").path is not None
    assert not (directory / cache.MARKER).exists()


def test_only_entries_are_dropped(folder):
    names = [f"{number:064x}" for number in range(10)]
    for number, name in enumerate([*names, "thesis.tex"]):
        (folder.path / name).touch()
        os.utime(folder.path / name, (number, number))
    folder.drop_oldest(re.compile("[0-9a-f]{64}"), 10)
    assert sorted(os.listdir(folder.path)) == [*names[5:], "thesis.tex"]


# Damage


def hits() -> int:
    """How often a new dispatcher of one function finds kept code; it computes right."""

    @njit
    def triple(number):  # type: ignore[no-untyped-def]
        return 3 * number

    assert triple(14) == 42
    return sum(triple.stats.cache_hits.values())


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda content: content[:40], lambda content: content[:-1], flipped]
)
def test_a_damaged_entry_is_compiled_anew(damage, suffix, folder):
    assert [hits(), hits()] == [0, 1]
    [path] = folder.path.glob(f"*.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert [hits(), hits()] == [0, 1]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_an_entry_of_another_library_is_compiled_anew(suffix, folder):
    """Its seal is right, but no pickle of this process."""
    hits()
    [path] = folder.path.glob(f"*.{suffix}")
    folder.store(path.name, b"\x80\x05no pickle")
    assert hits() == 0


def test_code_under_anothers_number_is_not_taken(folder):
    """Of two processes that filled a cold cache, one kept the index and the other the code."""

    def one() -> Any:
        @njit
        def quarter(number):  # type: ignore[no-untyped-def]
            return number / 4

        return quarter

    first = one()
    assert (first(2), first(1.0)) == (0.5, 0.25)
    codes = sorted(path.name for path in folder.path.glob("*.nbc"))
    contents = [folder.load(name) for name in codes]
    for name, content in zip(codes, reversed(contents), strict=True):
        folder.store(name, content)
    again = one()
    assert (again(2), again(1.0)) == (0.5, 0.25)
    assert not again.stats.cache_hits


@pytest.mark.parametrize("how", ["killed", "together"])
def test_a_cold_cache(how, scale, tmp_path):
    count = scale(10, 200) if how == "killed" else scale(2, 50)
    command = [sys.executable, "-m", "support.cold_cache", how, tmp_path, str(count)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_no_room_for_code(folder):
    folder.store("entry", b"old")
    with no_room(10):
        folder.store("entry", b"x" * 1000)
        folder.store("other", b"x" * 1000)
    assert folder.load("entry") == b"old"
    assert folder.load("other") is None
    assert os.listdir(folder.path) == ["entry"]


# Trust


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_others_may_write_is_not_unpickled(mine, monkeypatch):
    folder = Folder("numba")
    monkeypatch.setattr(kept, "FOLDER", folder)
    hits()
    for path in folder.path.glob("*.nbi"):
        folder.store(path.name, pickle.dumps((Bomb(mine / "went off"), {})))
    hits()
    assert (mine / "went off").exists()  # whoever can write there can do that
    (mine / "went off").unlink()
    for path in folder.path.glob("*.nbi"):
        folder.store(path.name, pickle.dumps((Bomb(mine / "went off"), {})))
    folder.path.chmod(0o777)
    later = Folder("numba")
    monkeypatch.setattr(kept, "FOLDER", later)
    with pytest.warns(RuntimeWarning, match="written by everybody, who .*set WORKBENCH_CACHE"):
        assert hits() == 0
    assert not (mine / "went off").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        hits()


def test_an_entry_that_others_may_write_is_not_read(folder):
    folder.store("entry", b"code")
    assert folder.load("entry") == b"code"
    (folder.path / "entry").chmod(0o666)
    assert folder.load("entry") is None


def test_whatever_the_umask_nobody_else_may_write(mine):
    before = os.umask(0)
    try:
        folder = Folder("numba")
        folder.store("entry", b"code")
    finally:
        os.umask(before)
    made = [folder.path / "entry", folder.path, folder.path.parent, folder.path.parents[1]]
    assert [path.stat().st_mode & 0o022 for path in made] == [0] * 4


@pytest.mark.parametrize(
    ("mode", "trusted"), [(0o755, True), (0o1777, True), (0o777, False), (0o770, False)]
)
def test_directories_above(mode, trusted, tmp_path, monkeypatch):
    """Who can write above can put another directory in the place of ours."""
    monkeypatch.setattr("workbench.compiled.trust._private", lambda _: False)
    (tmp_path / "above" / "cache").mkdir(parents=True)
    (tmp_path / "above").chmod(mode)
    assert (distrust(tmp_path / "above" / "cache") == "") == trusted


def about(uid: int, mode: int, gid: int = 0) -> Any:
    return SimpleNamespace(st_uid=uid, st_mode=stat.S_IFDIR | mode, st_gid=gid)


@pytest.mark.parametrize(
    ("uid", "mode", "why"),
    [
        (0, 0o755, ""), (1000, 0o700, ""), (1001, 0o700, "another user"), (0, 0o775, "a group"),
        (1000, 0o777, "everybody"), (1000, 0o1777, "everybody"), (1000, 0o775, "a group"),
    ],
)  # fmt: skip
def test_whose_directory(uid, mode, why, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: ME)
    found = other_writers(about(uid, mode))
    assert found.endswith(why)
    assert bool(found) == bool(why)


@pytest.mark.parametrize(
    ("name", "members", "own"), [("me", [], True), ("me", ["you"], False), ("all", [], False)]
)
def test_a_group_of_ones_own(name, members, own, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: ME)
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=members))
    assert (other_writers(about(1000, 0o775, gid=7)) == "") == own


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
def test_a_cache_of_root_is_read_and_one_of_another_user_is_not(mine, monkeypatch):
    """As another user would find both."""
    filled = Folder("numba")
    filled.store("entry", b"code")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    shared = Folder("numba")
    assert shared.load("entry") == b"code"
    shared.store("entry", b"other")
    assert shared.load("entry") == b"code"
    os.chown(filled.path, 12345, 12345)
    with pytest.warns(RuntimeWarning, match="numba belongs to another user"):
        assert Folder("numba").load("entry") is None


# Where there is no cache


def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> bool:
    folder = Folder("numba")
    monkeypatch.setattr(kept, "FOLDER", folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder.store("entry", b"code")
        folder.drop_oldest(re.compile(".*"), 1)
        return folder.load("entry") is None and [hits(), hits()] == [0, 0]


@pytest.mark.parametrize("home", ["/proc", "/proc/nonexistent", "/dev/null"])
def test_a_home_that_cannot_be_written(home, monkeypatch):
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    assert nothing_is_kept(monkeypatch)


def test_no_home(monkeypatch):
    def unknown(_: int) -> None:
        raise KeyError

    for name in ("WORKBENCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert cache_directory() is None
    assert nothing_is_kept(monkeypatch)


def test_no_home_in_the_environment(monkeypatch):
    for name in ("WORKBENCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_root() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache"


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_a_cache_directory_that_is_to_be_ignored(value, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_root() == Path("/home/me/.cache")
