"""C to BPF: finds a compiler, runs it, and says what it complains about in a few lines.

The compiler is WORKBENCH_CC, else a system clang of version 19 or newer, else clang from the
ziglang wheel (`pip install 'bpf-arena-workbench[cc]'`). The header arena.h comes with the package.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from workbench.arguments import optional, path, string, takes
from workbench.bpf.functions import BY_NAME
from workbench.errors import CompilationError, Unsupported, WorkbenchError
from workbench.objects import Object, read_object

INCLUDE = Path(__file__).parent / "include"
OLDEST_CLANG = 19  # the first whose BPF back end knows address spaces
PROCESSORS = ("v3", "v4")
SECONDS = 120  # bounds a compiler that hangs; not measured

_FLAGS = ("-O2", "-g", "-c", "-Wall", "-ffreestanding", "-fno-crash-diagnostics")
# Linux 6.18 has no indirect jumps, which clang 22 makes of tables at v4.
_NO_TABLES = ("-fno-jump-tables",)
# Without these, zig's clang describes stack frames in sections that BPF loaders do not expect.
_NO_UNWINDING = ("-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
_MISSING = (
    "no C compiler for BPF found; install one of: the extra cc (pip install "
    "'bpf-arena-workbench[cc]'), clang 19 or newer (Debian: apt-get install clang-19), or set "
    "WORKBENCH_CC. The .o files in data/programs/c need none"
)
_SARIF = ("-fdiagnostics-format=sarif", "-Wno-sarif-format-unstable")
_HINTS = {
    r"address space": "a pointer into the arena is declared with __arena; cast_user(p) makes a "
    "plain pointer one, cast_kern(p) the reverse",
    r"undeclared .*'(?:__arena|SEC|ARENA|can_loop|cast_\w+|bpf_arena_\w+)'": '#include "arena.h"',
    r"undeclared function '(?:" + "|".join(BY_NAME) + ")'": '#include "helpers.h"',
    r"undeclared function": "there is no C library; `workbench functions` lists the helpers and "
    "kfuncs that helpers.h declares",
    r"changed binding to STB_GLOBAL|symbol '.*' is already defined": "a function may not have the "
    "name of its section",
    r"[Ss]tack": "the BPF stack has 512 bytes; put large variables in the arena (__arena)",
    r"file not found": "arena.h comes with the workbench; other headers are looked for beside the "
    "source",
}
"""What to try, by what the compiler says."""


class Compiler(NamedTuple):
    """How to call a compiler: its command, the name of its BPF target, where it was found."""

    command: tuple[str, ...]
    target: str
    source: str


class Diagnostic(NamedTuple):
    """One complaint: line and column count from 1; `level` is "error", "warning" or "note"."""

    level: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0


class Translation(NamedTuple):
    """An object file's bytes, and the warnings, each of a few lines with a caret."""

    content: bytes
    warnings: tuple[str, ...]


@takes(source=path, mcpu=string, name=optional(string))
def compile_c(source: str | Path, mcpu: str = "v3", name: str | None = None) -> Object:
    r"""Compile C to an Object: a string is the source itself, a Path a file that holds it.

    `mcpu` is "v3" or "v4"; `name` stands in messages and source lines. Raises CompilationError
    with line, caret and hint, Unsupported where there is no compiler, WorkbenchError for an object
    that cannot be loaded.

    >>> source = '#include "arena.h"\nSEC("syscall") int answer(void *ctx) { return 42; }'
    >>> print(wb.compile_c(source).program("answer"))
        w0 = 42
        exit
    """
    path = source if isinstance(source, Path) else None
    text = read_source(path) if path else str(source)
    called = name or (path.name if path else "source.c")
    content = compile_bytes(text, mcpu, called, path.parent if path else None)
    return read_object(content, Path(called).with_suffix(".o").name)


def compile_bytes(
    text: str, mcpu: str = "v3", name: str = "source.c", directory: Path | None = None
) -> bytes:
    """Compile C to the bytes of an object file; `directory` is searched for its own headers.

    Raises CompilationError with line, caret and hint, Unsupported without a compiler or for an
    `mcpu` that has no arena.
    """
    return translate(text, mcpu, name, directory).content


def translate(
    text: str, mcpu: str = "v3", name: str = "source.c", directory: Path | None = None
) -> Translation:
    """Compile C to the bytes of an object file, with what the compiler warns about.

    `mcpu` is "v3" or "v4"; `name` stands in messages and source lines; `directory` is searched for
    headers. Raises CompilationError with line, caret and hint, Unsupported without a compiler or
    for an `mcpu` that has no arena.
    """
    if mcpu not in PROCESSORS:
        raise Unsupported(f"mcpu '{mcpu}' has no arena; choose from {', '.join(PROCESSORS)}")
    compiler = find_compiler()
    with tempfile.TemporaryDirectory(prefix="workbench-") as work:
        folder = Path(work).resolve()
        source, output = folder / Path(name).name, folder / "output.o"
        source.write_text(text, encoding="utf-8")
        command = _arguments(compiler, mcpu, source, output, directory)
        done = _run(compiler, command, folder)
        found = diagnostics(done.stdout + "\n" + done.stderr)
        if done.returncode or not output.exists():
            if all(diagnostic.level != "error" for diagnostic in found):
                # Errors without a place, such as the assembler's, are not in SARIF.
                done = _run(compiler, [word for word in command if word not in _SARIF], folder)
            raise _complaint(done, text, name)
        warnings = (shown(d, text, name) for d in found if d.level == "warning")
        return Translation(output.read_bytes(), tuple(warnings))


@cache
def _system_clang() -> str | None:
    """The newest clang of the PATH that is new enough and has the BPF target."""
    # Up to 40, far beyond the newest there is: each name costs a look through the PATH.
    names = [f"clang-{version}" for version in range(40, OLDEST_CLANG - 1, -1)]
    for name in ["clang", *names]:
        path = shutil.which(name)
        if path and _version(path) >= OLDEST_CLANG and _has_bpf(path):
            return path
    return None


def _version(path: str) -> int:
    found = re.search(r"clang version (\d+)", _asked(path, "--version"))
    return int(found[1]) if found else 0


def _has_bpf(path: str) -> bool:
    return bool(re.search(r"^\s*bpfel\b", _asked(path, "--print-targets"), re.MULTILINE))


def _asked(path: str, question: str) -> str:
    try:
        done = subprocess.run([path, question], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def find_compiler() -> Compiler:
    """Choose the compiler; raises Unsupported with what to install."""
    if chosen := os.environ.get("WORKBENCH_CC"):
        command = tuple(shlex.split(chosen))
        zig = any("zig" in Path(word).name for word in command)
        return Compiler(command, _target(zig), "WORKBENCH_CC")
    if clang := _system_clang():
        return Compiler((clang,), _target(False), "system")
    if find_spec("ziglang"):
        return Compiler((sys.executable, "-m", "ziglang", "cc"), _target(True), "ziglang")
    raise Unsupported(_MISSING)


def _target(zig: bool) -> str:
    return "bpfel-freestanding" if zig else "bpfel"


def _arguments(
    compiler: Compiler, mcpu: str, source: Path, output: Path, directory: Path | None
) -> list[str]:
    """The command line; paths of this machine stay out of the object."""
    own = [directory.resolve()] if directory else []
    places = {**dict.fromkeys(own, "."), source.parent: ".", INCLUDE: "include"}
    paths = [f"-ffile-prefix-map={path}={place}" for path, place in places.items()]
    folders = [f"-I{path}" for path in (INCLUDE, *own)]
    return [
        *compiler.command,
        *("-target", compiler.target, f"-mcpu={mcpu}", *_FLAGS, *_NO_TABLES, *_NO_UNWINDING),
        *paths,
        *folders,
        *(*_SARIF, source.name, "-o", output.name),
    ]


def _run(compiler: Compiler, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except OSError as error:
        name = " ".join(compiler.command)
        raise Unsupported(f"{compiler.source}: cannot run '{name}': {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unsupported(f"the compiler took more than {SECONDS} seconds") from None


def _complaint(done: subprocess.CompletedProcess[str], text: str, name: str) -> CompilationError:
    """Turn the first error of the compiler into an exception."""
    found = diagnostics(done.stdout + "\n" + done.stderr)
    errors = [diagnostic for diagnostic in found if diagnostic.level == "error"]
    if not errors:
        said = _last_words(done.stderr)
        return CompilationError(0, "\n".join([f"{name}: {said}", *_hint(said)]))
    message = shown(errors[0], text, name)
    if len(errors) > 1:
        message += f"\n({len(errors) - 1} more error{'s' if len(errors) > 2 else ''})"
    return CompilationError(errors[0].line if _is_own(errors[0], name) else 0, message)


def _is_own(diagnostic: Diagnostic, name: str) -> bool:
    """Whether a complaint is about the source itself, not about a header."""
    return not diagnostic.file or Path(diagnostic.file).name == Path(name).name


def shown(diagnostic: Diagnostic, text: str, name: str) -> str:
    """A complaint in a few lines: place and message, the source with a caret, what to try."""
    own = _is_own(diagnostic, name)
    place = f"{name if own else Path(diagnostic.file).name}:{diagnostic.line}"
    level = "" if diagnostic.level == "error" else f"{diagnostic.level}: "
    lines = [f"{place}: {level}{diagnostic.message}", *(_excerpt(diagnostic, text) if own else ())]
    return "\n".join(lines + _hint(diagnostic.message))


def _hint(message: str) -> list[str]:
    """What to try, in a line or none."""
    return [f"hint: {hint}" for pattern, hint in _HINTS.items() if re.search(pattern, message)][:1]


def _last_words(said: str) -> str:
    """What a compiler that gave up without a diagnostic was about."""
    found = re.search(r"(?:on function|in function) '@?(\w+)'", said)
    if found or "frontend command failed" in said or "Stack dump:" in said:
        where = f" in function '{found[1]}'" if found else ""
        return (
            f"the compiler cannot translate an operation{where} to BPF and gave up "
            "(atomic stores and fences are such operations)"
        )
    lines = [line for line in said.splitlines() if "error:" in line] or said.split("\n")
    return lines[0].strip() or "the compiler said nothing"


def _excerpt(diagnostic: Diagnostic, text: str) -> list[str]:
    """The source line, and below it a caret."""
    lines = text.splitlines()
    if not 0 < diagnostic.line <= len(lines):
        return []
    line = lines[diagnostic.line - 1]
    before = re.sub(r"[^\t]", " ", line[: max(diagnostic.column - 1, 0)])
    return [f"    {line}", f"    {before}^"]


_TEXT = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): "
    r"(?:fatal )?(?P<level>error|warning|note): (?P<message>.*)$",
    re.MULTILINE,
)


def diagnostics(output: str) -> list[Diagnostic]:
    """Read what a compiler printed, as SARIF 2.1 or in its usual form, in the order printed."""
    for line in output.splitlines():
        start = line.find('{"$schema"')
        if start >= 0:
            try:
                document, _ = json.JSONDecoder().raw_decode(line[start:])
                return [_of_sarif(row) for run in document["runs"] for row in run["results"]]
            except (ValueError, LookupError, TypeError):
                break
    rows = (match.groupdict() for match in _TEXT.finditer(output))
    return [
        Diagnostic(r["level"], r["message"], r["file"], int(r["line"]), int(r["column"]))
        for r in rows
    ]


def _of_sarif(row: dict) -> Diagnostic:  # type: ignore[type-arg]
    """One result of a SARIF 2.1 run."""
    places = row.get("locations") or [{}]
    physical = places[0].get("physicalLocation", {})
    region = physical.get("region", {})
    return Diagnostic(
        level=row.get("level", "error"),
        message=row["message"]["text"],
        file=physical.get("artifactLocation", {}).get("uri", ""),
        line=int(region.get("startLine", 0)),
        column=int(region.get("startColumn", 0)),
    )


def read_source(path: Path) -> str:
    """Read a C file; raises WorkbenchError for one that cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WorkbenchError(f"cannot read {path}: it is not UTF-8 text") from None
