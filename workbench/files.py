"""How a file that a person keeps is written: beside the old one, to the disk, then in its place.

A full disk, or a process killed at any moment, leaves the old file whole.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.errors import SaveError, errno_name

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_ROOM = "make room there, or save elsewhere"
_RIGHTS = "save in a directory that you may write"
_NAME = "save under another name"
_CURES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit that 'ulimit -f' shows",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.EEXIST: _NAME,
    errno.EISDIR: _NAME,
    errno.ENOTDIR: _NAME,
    errno.ENAMETOOLONG: _NAME,
}


def write_whole(
    path: str | Path, content: bytes | str, mode: int = 0o666, sync: bool = True
) -> None:
    """Write a file so that readers see the old content or all of the new; text becomes UTF-8.

    Missing directories are made. `mode` is what a new file may be permitted, less the umask.
    Without `sync` the file may be empty after a power failure: for what is sealed and can be made
    anew. Raises SaveError, with the errno's name and what to try; the old file is whole then.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, mode, sync) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: str | Path, mode: int = 0o666, sync: bool = True) -> Iterator[Path]:
    """Give an empty file to write, which takes the place of `path` if the block comes to its end.

    It keeps the old file's permissions. A link stays one: what it leads to is written. What is no
    regular file, such as /dev/stdout, is written as it is. Raises as `write_whole` does.
    """
    try:
        old = os.stat(path) if os.path.exists(path) else None
        if old and not stat.S_ISREG(old.st_mode) and not stat.S_ISDIR(old.st_mode):
            yield Path(path)
            return
        place = Path(os.path.realpath(path) if os.path.islink(path) else path)
        if not old:
            place.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(place, old, mode)
        try:
            yield temporary
            if sync:
                _to_disk(temporary)
            temporary.replace(place)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync:
            with suppress(OSError):  # not every file system can; the new file is in its place
                _to_disk(place.parent)
    except OSError as error:
        raise _refusal(path, error) from None


def cache_root() -> Path | None:
    """$WORKBENCH_CACHE, else $XDG_CACHE_HOME, else ~/.cache; None for a user without a home."""
    if named := os.environ.get("WORKBENCH_CACHE"):
        return Path(named).absolute()
    return user_directory("XDG_CACHE_HOME", ".cache")


def user_directory(variable: str, below_home: str) -> Path | None:
    """A directory of the user's, by the XDG Base Directory Specification; None without a home."""
    named = os.environ.get(variable, "")
    if os.path.isabs(named):  # the specification has any other ignored
        return Path(named)
    try:
        return Path.home() / below_home
    except RuntimeError:
        return None


def _beside(place: Path, old: os.stat_result | None, mode: int) -> Path:
    """An empty file in the directory of `place`, with the rights of the file that it replaces."""
    if old and (stat.S_ISDIR(old.st_mode) or not os.access(place, os.W_OK)):
        number = errno.EISDIR if stat.S_ISDIR(old.st_mode) else errno.EACCES
        raise OSError(number, os.strerror(number))
    # 200 bytes: the longest name may have 255, of which the rest of this one takes 23
    name = os.fsdecode(os.fsencode(place.name)[:200])
    temporary = place.with_name(f".{name}-{secrets.token_hex(8)}.part")
    handle = os.open(temporary, _NEW, mode)
    if old:
        with suppress(OSError):  # another's file becomes ours, if we may not give it away
            os.fchown(handle, old.st_uid, old.st_gid)
        with suppress(OSError):  # file systems without permissions
            os.fchmod(handle, stat.S_IMODE(old.st_mode))
    os.close(handle)
    return temporary


def _to_disk(path: Path) -> None:
    """Wait until a file or directory is on the disk: after a crash, a name may lead to nothing."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refusal(path: str | Path, error: OSError) -> SaveError:
    number = error.errno or errno.EIO
    cure = _CURES.get(number, "save elsewhere")
    why = error.strerror or str(error)
    return SaveError(errno_name(number), f"{path} cannot be written: {why}; {cure}")
