"""Points of sweeps that new processes compute, in a module that they can import."""

import time

import numpy as np
import pandas as pd


def large(rows: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame({"noise": np.random.default_rng(seed).random(rows)})


def slow(x: int) -> int:
    time.sleep(0.3)
    return x
