"""The C compilers that tests use: the system's clang, and zig's from the package index."""

import sys

ZIG = f"{sys.executable} -m ziglang cc"
NO_SYSTEM = "no clang 19 or newer with the BPF target (Debian: apt-get install clang-19)"
NO_ZIG = "the extra cc is not installed (pip install 'bpf-arena-workbench[cc]')"
