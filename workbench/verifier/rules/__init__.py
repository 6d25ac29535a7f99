"""What must hold before each instruction, and whether it does.

facts      what an instruction needs            check      whether a path has it
arguments  arguments of functions               memory     loads and stores
limits     rules about the program as a whole   structure  what its shape alone forbids
"""
