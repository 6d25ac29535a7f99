"""Every error the workbench raises.

WorkbenchError
├── AssemblyError        text that is not a program          (line, text)
├── CompilationError     C that the compiler refuses         (line)
├── DecodeError          bytes that are not a program        (pc)
├── VerificationError    a program that was refused          (pc, reason, log)
├── Refused              a call that fails with an errno     (errno name)
│   ├── ArenaError       an arena call that Linux refuses
│   ├── MapError         a map call that Linux refuses
│   ├── KernelError      bpf(2) said no
│   └── SaveError        a file that cannot be written; the old one is whole
├── SegmentationFault    a user touch that Linux kills for   (address, access)
├── TraceError           a trace file that cannot be read
└── Unsupported          this engine cannot do that          (what can)
"""

import errno

_ENOTSUPP = 524  # only the kernel knows it: include/linux/errno.h


class WorkbenchError(Exception):
    """Base of all errors raised by the workbench; its text is written for the person reading."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a Python traceback: the message is the whole story."""
        return [f"{type(self).__name__}: {self}"]


class AssemblyError(WorkbenchError):
    """Assembly text could not be understood; `line` counts from 1."""

    def __init__(self, line: int, message: str, text: str = "") -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.text = text


class CompilationError(WorkbenchError):
    """C source that the compiler refuses; `line` counts from 1, 0 if it is in another file."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class DecodeError(WorkbenchError):
    """Bytecode is not a sequence of known instructions; `pc` is the 8-byte slot."""

    def __init__(self, pc: int, message: str) -> None:
        super().__init__(f"instruction {pc}: {message}")
        self.pc = pc


class VerificationError(WorkbenchError):
    """A verifier, ours or Linux's, refused the program at instruction `pc` (-1: no instruction)."""

    def __init__(self, pc: int, reason: str, log: str = "") -> None:
        super().__init__(reason if pc < 0 else f"instruction {pc}: {reason}")
        self.pc = pc
        self.reason = reason
        self.log = log


class Refused(WorkbenchError):
    """A call failed with an errno; `errno_name` is its name, such as "EINVAL"."""

    def __init__(self, errno_name: str, message: str) -> None:
        super().__init__(f"{errno_name}: {message}")
        self.errno_name = errno_name


class ArenaError(Refused):
    """An arena was asked for something that Linux refuses, with the errno's name."""


class MapError(Refused):
    """A map was asked for something that Linux refuses, with the errno's name."""


class SegmentationFault(WorkbenchError):
    """A user-space touch of the arena that would deliver SIGSEGV; `access` is 'load' or 'store'."""

    def __init__(self, address: int, access: str, reason: str = "") -> None:
        detail = f" ({reason})" if reason else ""
        super().__init__(f"SIGSEGV: user {access} at {address:#x}{detail}")
        self.address = address
        self.access = access


class TraceError(WorkbenchError):
    """A trace file is cut short, damaged, or of another version."""


class KernelError(Refused):
    """bpf(2) or a related system call failed, with the errno's name and what to try."""


class SaveError(Refused):
    """A file could not be written, with the errno's name and what to try; the old one is whole."""


class Unsupported(WorkbenchError):
    """This engine or machine cannot do what was asked; the message names what can."""


def errno_name(number: int) -> str:
    """The name of an errno such as 22 ("EINVAL"), also of ENOTSUPP, which Python does not know."""
    if number == errno.EOPNOTSUPP:  # Python has the name of its twin, ENOTSUP
        return "EOPNOTSUPP"
    return errno.errorcode.get(number, "ENOTSUPP" if number == _ENOTSUPP else f"errno {number}")
