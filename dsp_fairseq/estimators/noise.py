"""Random numbers that are a pure function of (seed, update)."""

import torch
from torch import Tensor

_MASK64 = (1 << 64) - 1


def _mix(seed: int, update: int) -> int:
    """Folds two integers into 32 well-spread bits (the finaliser of SplitMix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + update * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return (x ^ (x >> 31)) & 0xFFFFFFFF


def gumbel_noise(n: int, seed: int, update: int) -> Tensor:
    """Standard Gumbel noise ``[n]``, float64 on the CPU.

    The same (seed, update) gives the same noise on every device and in every process, and nothing
    is taken from the global generators: micro-batches of one update share a draw, a resumed run
    repeats the run that was interrupted, and dropout does not depend on the pruning method.
    """
    generator = torch.Generator().manual_seed(_mix(seed, update))
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    tiny = torch.finfo(torch.float64).tiny
    return -torch.log(-torch.log(uniform.clamp_min(tiny)))


def uniform_from_gumbel(noise: Tensor) -> Tensor:
    """The uniform numbers of (0, 1) that standard Gumbel noise was made of."""
    return torch.exp(-torch.exp(-noise))


def logistic_from_gumbel(noise: Tensor) -> Tensor:
    """Standard logistic noise of the same uniform numbers: ``log u - log(1 - u)``."""
    minus_log_u = torch.exp(-noise)
    return -minus_log_u - torch.log(-torch.expm1(-minus_log_u))


def choose(count: int, seed: int, update: int) -> int:
    """One of ``0..count-1``, uniformly, as a function of (seed, update) alone."""
    return _mix(~seed, update) % count
