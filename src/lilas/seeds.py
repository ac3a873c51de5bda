"""Seeds derived from seeds: the same integers give the same stream, on any machine."""

import numpy as np


def derive(*keys: int) -> int:
    """Returns a 63-bit seed for the stream named by `keys`, independent between different keys.

    Zeros at the end name no other stream: those of (5,) and (5, 0) are one.
    """
    state = np.random.SeedSequence(keys).generate_state(1, np.uint64)[0]
    return int(state) >> 1
