"""crc32c of a whole from the crc32c of its parts, which google_crc32c does not offer.

A crc is a remainder of polynomials over GF(2). The share of the part A in crc(A + B) is therefore crc(A) times
x^(8 * len(B)), modulo the polynomial, and the contributions of all parts are added (xor) in any order.
"""

from functools import lru_cache

from google_crc32c import value

_POLYNOMIAL = 0x82F63B78  # Castagnoli; bit 31 is the coefficient of x^0, as in the crc itself
_ONE = 1 << 31
_X_TO_8 = _ONE >> 8


def crc32c(data: bytes) -> int:
    """The crc32c of `data`."""
    return int(value(data))


def contribution(crc: int, following_bytes: int) -> int:
    """What a part with crc32c `crc` contributes to the crc32c of a whole in which `following_bytes` bytes follow it.

    The xor of the contributions of all parts is the crc32c of the whole.
    """
    return _times(_zeros(following_bytes), crc)


def combine(first: int, second: int, second_size_bytes: int) -> int:
    """The crc32c of A + B, from the crc32c of A and of B, and the size of B."""
    return contribution(first, second_size_bytes) ^ second


def _times(a: int, b: int) -> int:
    """The product of two polynomials, modulo `_POLYNOMIAL`."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@lru_cache(maxsize=64)
def _square(exponent: int) -> int:
    """x^(8 * 2^exponent): the operator of 2^exponent zero bytes."""
    if exponent == 0:
        return _X_TO_8
    half = _square(exponent - 1)
    return _times(half, half)


@lru_cache(maxsize=4096)
def _zeros(size_bytes: int) -> int:
    """x^(8 * size_bytes): the operator of so many zero bytes; about ten multiplications for a block of a gigabyte."""
    operator, exponent = _ONE, 0
    while size_bytes:
        if size_bytes & 1:
            operator = _times(_square(exponent), operator)
        size_bytes >>= 1
        exponent += 1
    return operator
