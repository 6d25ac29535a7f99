"""What must hold before each instruction, and whether it does.

facts      what an instruction needs            check      whether a path has it
arguments  arguments of functions               memory     loads and stores
situation  what a rule may ask of a path        structure  what the code's shape alone forbids
limits     rules about the program as a whole
"""
