"""What a run leaves behind, as a value and as a file.

columns    what a recorded step consists of
memory     what a run wrote, and bytes as these writes left them
trace      steps, counts and events of one run, forward and back
window     a part of a long run, as a run of its own
schema     what values read from JSON must be
format     the bytes of a file, which the stepper opens too
validate   whether what a file holds is sound
file       a recording as bytes, and read again
program    the program in it
version_1  files of before
notebook   the methods of a trace that live above: the one table of their names
"""
