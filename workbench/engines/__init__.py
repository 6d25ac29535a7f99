"""Engines run one program and give one answer: interpreter, and the real kernel."""
