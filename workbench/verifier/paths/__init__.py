"""Paths through a program, their effects, and when one is covered by another.

subject      what is verified                   path       one path
explore      all paths, depth first
transfer     what an instruction does to it     calls      functions and callbacks
branching    conditional jumps                  stack      loads and stores of the stack
raw          programs of type raw               flow       successors, loops, live registers
checkpoints  states seen before                 equality   whether one covers another
precision    numbers that must match exactly    liveness   stack slots that matter
recorder     what a path writes into the log
"""
