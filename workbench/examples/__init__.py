"""The programs that come along, and their user side.

programs    example programs by name        c_programs  the examples in C
studies     three uses of an arena, walked and changed natively
"""
