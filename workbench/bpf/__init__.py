"""What BPF is, as tables and immutable values; no engine and no arena.

isa             the table of instructions          functions     helpers and kfuncs, a row each
helper_names    every helper of Linux by number    prototypes    functions as C prototypes
program_types   the types of program, a row each   releases      what differs between Linuxes
contexts        structures, read by fields         declarations  maps, subprograms, layouts
addresses       where a program's memory lies      program       instructions as a value
text            instructions as text               disassembler  a program to text
assembler       text to a program                  files         programs from files
reference       instructions as a page             map_types    map types, a row each
"""
