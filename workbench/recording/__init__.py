"""What a run leaves behind, as a value and as a file.

trace    steps, counts and events of one run, forward and back
window   a part of a long run, as a run of its own
format   the bytes that the stepper opens
file     a recording as bytes, and read again
"""
