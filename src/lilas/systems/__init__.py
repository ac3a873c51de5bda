"""Systems that LILAS simulates: settings of each, and its simulator beside them."""

from lilas.systems.euler import Euler
from lilas.systems.gravity_cooling import GravityCooling
from lilas.systems.rayleigh_benard import RayleighBenard

# Those of LILAS; plug-ins add theirs.
OURS = (RayleighBenard, Euler, GravityCooling)
