"""A measurement for the tests of repetition, in a module that a new process imports quickly."""

import os

import pandas as pd


def measured(point: str, process: int, instances: int, iterations: int, host: str) -> pd.DataFrame:
    if point == "broken":
        raise ValueError("no such thing")
    return pd.DataFrame({"value": [float(process)], "pid": [os.getpid()]})
