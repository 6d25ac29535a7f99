"""C and assembly in notebook cells: `%load_ext workbench`, then %%bpf and %%bpfasm.

A cell becomes an object or a program under a name, as wb.compile_c and wb.assemble make them of a
string. Lines are counted from the top of the cell, so that messages and views lead back to it.
"""

import sys
from typing import TYPE_CHECKING

from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from workbench.bpf.assembler import assemble_all
from workbench.bpf.program import Program
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.errors import Unsupported, WorkbenchError
from workbench.objects import Object, load_object, read_object
from workbench.objects.compiler import PROCESSORS, translate

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def register(shell: "InteractiveShell") -> None:
    """Add the cell magics to a running IPython."""
    shell.register_magics(BpfMagics)


@magics_class
class BpfMagics(Magics):
    """The cell magics of the workbench."""

    @magic_arguments()
    @argument("name", metavar="NAME", help="the variable that the object is put into")
    @argument("--mcpu", choices=PROCESSORS, default="v3", help="instructions to use [v3]")
    @argument("--prebuilt", metavar="FILE.o", help="what to load where there is no compiler")
    @cell_magic
    def bpf(self, line: str, cell: str) -> None:
        """Compile the C of this cell to an object: its programs, maps, variables and types.

        arena.h is there without a path. The same without a cell: wb.compile_c(source, mcpu).

            %%bpf counter
            #include "arena.h"
            ARENA(arena, 16);
            long __arena count;
            SEC("syscall") int add(long *ctx) { count += ctx[0]; return count; }
            char LICENSE[] SEC("license") = "GPL";

        Then `with counter.arena() as arena, wb.Interpreter(counter.programs["add"], arena)`.
        """
        given = parse_argstring(self.bpf, line)
        name = _checked(given.name)
        found = _compiled(name, "\n" + cell, given.mcpu, given.prebuilt)
        _tell(str(error) for error in found.errors.values())
        self._bind(name, found)

    @magic_arguments()
    @argument("name", metavar="NAME", help="the variable that the program is put into")
    @argument("--type", choices=PROGRAM_TYPES, default="syscall", help="type of program [syscall]")
    @cell_magic
    def bpfasm(self, line: str, cell: str) -> None:
        """Assemble this cell to a program, or to a dict of programs if it holds several.

        The same without a cell: wb.assemble(source, type).

            %%bpfasm answer
            r0 = 42
            exit

        Then `with wb.Interpreter(answer) as engine: engine.run()`.
        """
        given = parse_argstring(self.bpfasm, line)
        name = _checked(given.name)
        found = assemble_all("\n" + cell, type=given.type, name=name)
        self._bind(name, next(iter(found.values())) if len(found) == 1 else found)

    def _bind(self, name: str, value: "Object | Program | dict[str, Program]") -> None:
        """Put a value into the notebook's variable, and say what it is."""
        assert self.shell is not None
        self.shell.push({name: value})
        print(_described(name, value))


def _compiled(name: str, source: str, mcpu: str, prebuilt: str | None) -> Object:
    """Compile, or load what was built before where there is no compiler."""
    try:
        translation = translate(source, mcpu, f"{name}.c")
    except Unsupported:
        if prebuilt is None:
            raise
        print(f"no C compiler here; this is {prebuilt}")
        return load_object(prebuilt)
    _tell(translation.warnings)
    return read_object(translation.content, f"{name}.o")


def _checked(name: str) -> str:
    if not name.isidentifier():
        raise WorkbenchError(f"'{name}' cannot be the name of a variable")
    return name


def _tell(messages) -> None:  # type: ignore[no-untyped-def]
    for message in messages:
        print(message, file=sys.stderr)


def _described(name: str, value: "Object | Program | dict[str, Program]") -> str:
    """One line about what a cell became."""
    if isinstance(value, Program):
        return f"{name}: a {value.type} program of {len(value)} instructions"
    if isinstance(value, dict):
        return f"{name}: programs {', '.join(value)}"
    return f"{name}: {str(value)[1:-1]}"
