"""The order of samples as a function: position -> sample, by a keyed bijection, with no list to keep.

A Feistel network on pairs of digits (Black & Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002): a position is
written as a pair (left, right) with left < a, right < b, a b >= count; in turn each half is moved, modulo its range, by a hash
of the other, which can be undone whatever the hash. Pairs beyond `count` are sent through again until they fall inside.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

# 6 are even to the eye, but favour some orders of 5 or 6 samples twofold; from 12 on counting orders no longer shows it.
_ROUNDS = 16
_MASK = 2**64 - 1


def permuted(positions: npt.ArrayLike, count: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Which of `count` samples stands at each position of an epoch.

    Every (seed, epoch) gives a bijection of 0 ... count - 1. Costs the same at any position and keeps nothing.

    Args:
        positions: integers in 0 ... count - 1, any shape.
        seed, epoch: any integers; taken modulo 2⁶⁴.
    Raises:
        ValueError: a position out of range.

    >>> permuted(range(6), 6, seed=1, epoch=0).tolist()
    [4, 3, 0, 1, 2, 5]
    """
    given = np.asarray(positions, dtype=np.int64)
    if given.size and (given.min() < 0 or given.max() >= count):
        raise ValueError(f"positions: got {given.min()} to {given.max()}, need 0 to {count - 1}")
    # As square as it goes: a (b - 1) < count <= a b, so that fewer than a pairs lie outside.
    a = math.isqrt(max(count - 1, 0)) + 1
    b = -(-max(count, 1) // a)
    keys = _keys(seed, epoch)
    values = _network(given.reshape(-1).astype(np.uint64), a, b, keys)
    outside = np.flatnonzero(values >= count)
    while outside.size:
        values[outside] = _network(values[outside], a, b, keys)
        outside = outside[values[outside] >= count]
    return values.astype(np.int64).reshape(given.shape)


def place_in(state: Mapping[str, object], own: Mapping[str, object], count: int, *, what: str, whose: str) -> tuple[int, int]:
    """Epoch and position of a state that was kept, once it is found to be one of what it is loaded into.

    Args:
        own: values that must be the same in the state, such as seed and fingerprint.
        count: positions in an epoch.
        what, whose: how the message calls the state and what it is loaded into.
    Raises:
        ValueError: it is of something else, or no state.
    """
    for key, mine in own.items():
        if state.get(key) != mine:
            raise ValueError(f"{what} with {key} {state.get(key)!r}, {whose} {mine!r}")
    epoch, position = state.get("epoch"), state.get("position")
    if not (isinstance(epoch, int) and isinstance(position, int) and epoch >= 0 and 0 <= position < count):
        raise ValueError(f"{what} at epoch {epoch!r}, position {position!r} of {count}")
    return epoch, position


def _keys(seed: int, epoch: int) -> tuple[np.uint64, ...]:
    digest = hashlib.shake_256(struct.pack("<QQ", seed & _MASK, epoch & _MASK)).digest(8 * _ROUNDS)
    return tuple(np.uint64(word) for word in struct.unpack(f"<{_ROUNDS}Q", digest))


def _network(values: npt.NDArray[np.uint64], a: int, b: int, keys: tuple[np.uint64, ...]) -> npt.NDArray[np.uint64]:
    right, left = np.divmod(values, np.uint64(a))
    for number, key in enumerate(keys):
        if number % 2:
            right = (right + _hash(left, key) % np.uint64(b)) % np.uint64(b)
        else:
            left = (left + _hash(right, key) % np.uint64(a)) % np.uint64(a)
    return right * np.uint64(a) + left


def _hash(values: npt.NDArray[np.uint64], key: np.uint64) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014), wrapping modulo 2⁶⁴."""
    z = values ^ key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


__all__ = ["permuted", "place_in"]
