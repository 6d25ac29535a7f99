"""What is known of a program's numbers and pointers.

tnum        bits known and unknown            numbers   ranges and bits of one number
arithmetic  what instructions do to numbers   branches  what a taken jump says
pointers    pointers and what they point to   domain    registers, frames, states
trail       what a number is traced back to
"""
