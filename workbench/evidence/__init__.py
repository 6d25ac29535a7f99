"""Numbers one may trust: repeated measurements with intervals, and where a result comes from.

measurement  repeats, ratios, bootstrap intervals, verdicts
provenance   machine, versions and commit beside every result
"""
