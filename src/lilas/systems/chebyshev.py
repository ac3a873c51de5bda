"""Chebyshev collocation on y in [0, 1]: nodes, derivative, integral, truncation.

Nodes are y_j = (1 - cos(πj / (n - 1))) / 2, from 0 to 1; operators are dense matrices on them.
"""

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


def angles(count: int) -> Real:
    """Returns the angles of the Chebyshev nodes, from 0 (y = 0) to π (y = 1), shape (y,)."""
    return np.pi * np.arange(count) / (count - 1)


def differentiation(count: int) -> Real:
    """Returns the matrix of d/dy on the Chebyshev nodes, shape (y, y)."""
    angle = angles(count)
    # y_i - y_j as a product loses no digits between close nodes.
    gap = np.sin((angle[:, None] + angle) / 2) * np.sin((angle[:, None] - angle) / 2)
    np.fill_diagonal(gap, 1)
    weight = (-1.0) ** np.arange(count)
    weight[[0, -1]] /= 2
    matrix = weight / weight[:, None] / gap
    np.fill_diagonal(matrix, 0)
    # The derivative of a constant is zero.
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


def _polynomials(count: int) -> Real:
    """Returns the Chebyshev polynomials (of 1 - 2y) on the nodes, shape (y, degree)."""
    return np.cos(np.outer(angles(count), np.arange(count)))


def integration(count: int) -> Real:
    """Returns the weights w of the Clenshaw-Curtis rule ∫f dy = Σ w_j f(y_j), shape (y,)."""
    even = np.arange(0, count, 2)
    integrals = np.zeros(count)
    integrals[even] = 1 / (1.0 - even**2)
    return np.linalg.solve(_polynomials(count).T, integrals)


def truncation(count: int) -> Real:
    """Returns the matrix, (y, y), that drops the degrees onto which products could alias."""
    values = _polynomials(count)
    kept = 3 * np.arange(count) < 2 * (count - 1)
    return (values * kept) @ np.linalg.inv(values)
