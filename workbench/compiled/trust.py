"""Whether code that lies in a directory may be run: if only root and the user can write there."""

import grp
import os
import pwd
import stat
from pathlib import Path


def distrust(path: Path) -> str:
    """Why what a directory holds may not be trusted: it or one above is another's to write.

    "" if it may. Raises OSError where there is nothing.
    """
    real = path.resolve(strict=True)
    for place in (real, *real.parents):
        if why := other_writers(place.stat(), above=place != real):
            return f"{place} {why}"
    return ""


def other_writers(about: os.stat_result, above: bool = False) -> str:
    """Who but root and the user may write a file or directory; "" if nobody may.

    In a directory `above` with the sticky bit, nobody replaces what belongs to another.
    """
    if about.st_uid not in (0, os.geteuid()):
        return "belongs to another user"
    if above and about.st_mode & stat.S_ISVTX:
        return ""
    if about.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if about.st_mode & stat.S_IWGRP and not _private(about):
        return "can be written by a group"
    return ""


def _private(about: os.stat_result) -> bool:
    """Whether a group is the user's own: of the same name, as many systems make it, and alone."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(about.st_gid)
    except KeyError:
        return False
    own = about.st_uid == user.pw_uid and about.st_gid == user.pw_gid
    return own and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
