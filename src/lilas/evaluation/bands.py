"""Bands of wavenumbers, by the names that scores of spectra carry."""

import math
from itertools import pairwise

BANDS = ("low", "mid", "high", "beyond")
# Those of the paper's tables; beyond the Nyquist frequency there are corners alone.
INNER_BANDS = BANDS[:3]


def band_limits(first: float) -> dict[str, tuple[float, float]]:
    """Returns between which k each band lies, in cycles per pixel.

    Low, mid and high are equal in log k from the first bin's k to 1/2; beyond is k >= 1/2, which
    only diagonal modes and the Nyquist frequencies reach (official code 1.1.0).
    """
    edges = [first * (0.5 / first) ** (i / 3) for i in range(4)] + [math.inf]
    return dict(zip(BANDS, pairwise(edges), strict=True))
