"""Random numbers that belong to samples, the same on any machine."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Random numbers of the samples of a batch, each sample's own.

    What a sample draws depends on the seed, on its name and on how much it drew before, and not
    on the samples beside it: a batch may be cut into pieces and dealt to devices as one likes.

    A generator per sample would be seeded and launched sample by sample. Here number j of sample i
    is a hash, mix(mix(mix(seed) + h(i)) + h(j)), of a whole batch at once and on the device that
    wants it: h(n) = mix((n + 1) G), and G and mix are SplitMix64's (Steele, Lea and Flood, 2014).
    The integers are the same on every device, normal numbers to rounding.

    Args:
        seed: Seed of the stream, from `derive`.
        samples: Names of the samples: an integer or a row of integers each.
        temperature: Factor of the normal numbers: their standard deviation.
    """

    def __init__(
        self, seed: int, samples: Sequence[int] | Tensor, temperature: float = 1.0
    ) -> None:
        names = torch.as_tensor(samples, dtype=torch.int64)
        keys = _mix(torch.tensor(seed))
        for column in names.view(len(names), -1).unbind(1):
            keys = _mix(keys + _spread(column))
        self.keys, self.temperature, self._drawn = keys, temperature, 0

    def __len__(self) -> int:
        return len(self.keys)

    def uniform(self) -> Tensor:
        """Returns a number of (0, 1) for each sample, float64 (sample,), on the CPU."""
        words = self._words(1, self.keys)[:, 0]
        return ((words >> 12 & 2**52 - 1).double() + 0.5) * 2.0**-52

    def below(self, bound: int) -> Tensor:
        """Returns an integer of [0, bound) for each sample, int64 (sample,), on the CPU."""
        return (self.uniform() * bound).long()

    def normal(self, like: Tensor) -> Tensor:
        """Returns normal numbers of mean 0 (sample, …), of the shape, type and device of `like`.

        Their standard deviation is the temperature, 1 unless it is said otherwise.
        """
        size = like[0].numel()
        words = self._words((size + 1) // 2, self.keys.to(like.device))
        # Box and Muller: the upper 40 bits give the radius, the lower 24 the angle.
        radius = ((words >> 24 & 2**40 - 1).float() + 0.5).mul_(2.0**-40).log_().mul_(-2).sqrt_()
        radius.mul_(self.temperature)
        angle = (words & 2**24 - 1).float().mul_(2 * math.pi * 2.0**-24)
        pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        return pairs.flatten(1)[:, :size].reshape(like.shape).to(like.dtype)

    def _words(self, count: int, keys: Tensor) -> Tensor:
        """Returns the next words of 64 random bits, int64 (sample, word)."""
        places = torch.arange(self._drawn, self._drawn + count, device=keys.device)
        self._drawn += count
        return _mix(keys[:, None] + _spread(places))


def _mix(z: Tensor) -> Tensor:
    # Products wrap around, and >> brings in the sign, which the masks take off again.
    z = (z ^ (z >> 30 & 2**34 - 1)).mul_(0xBF58476D1CE4E5B9 - 2**64)
    z = z.bitwise_xor_(z >> 27 & 2**37 - 1).mul_(0x94D049BB133111EB - 2**64)
    return z.bitwise_xor_(z >> 31 & 2**33 - 1)


def _spread(names: Tensor) -> Tensor:
    return _mix((names + 1) * (0x9E3779B97F4A7C15 - 2**64))
