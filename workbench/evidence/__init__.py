"""Numbers one may trust: repeated measurements with intervals, and where a result comes from.

measurement  repeats, ratios, bootstrap intervals, verdicts
places       where data, results and notebooks lie
provenance   machine, versions and commit beside every result
"""
