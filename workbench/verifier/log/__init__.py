"""The verifier's log: written, read back and explained.

writer   the log of a verification, as text     wording   how values and instructions are written
steps    a log as values                        reader    text of any Linux to those values
known    states written in a log                view      a log as frames and HTML
messages what each message means                explain   why not, in plain words
"""

from workbench import moved

__getattr__ = moved.parts(__name__)
