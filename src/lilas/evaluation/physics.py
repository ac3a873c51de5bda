"""What the equations say of a state: residuals of laws, and the quantities a physicist reads.

Laws hold for whole states, so these metrics see every channel: truth u (time, channel, *space) and
ensemble v (member, time, channel, *space) in physical units. Each returns, by field, a score
(time,), float64; `state` and `velocity` stand for several channels at once. A residual is of the
ensemble alone, and the data have one too: that of their own discretisation.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lilas.data.layout import BOUNDARIES
from lilas.data.well import WellFile
from lilas.errors import LilasError

# Fields that nature keeps above zero.
POSITIVE = ("density", "pressure", "temperature", "energy")


@dataclass(frozen=True)
class Flow:
    """What the laws need to know besides the states.

    Attributes:
        channels: Names of the channels.
        axes: Names of the space axes.
        points: Coordinates along each axis (point,).
        periodic: Whether each axis is periodic.
        parameters: Constants of the trajectory by name.
    """

    channels: tuple[str, ...]
    axes: tuple[str, ...]
    points: tuple[np.ndarray, ...]
    periodic: tuple[bool, ...]
    parameters: dict[str, float]

    @classmethod
    def of(cls, file: WellFile, trajectory: int) -> "Flow":
        """Returns the flow of a trajectory of a file."""
        return cls(
            channels=tuple(channel.name for channel in file.channels),
            axes=file.axes,
            points=tuple(file.coordinates[axis][trajectory] for axis in file.axes),
            periodic=tuple(
                bool((codes == BOUNDARIES["periodic"]).all()) for codes in file.boundaries
            ),
            parameters={name: float(v[trajectory]) for name, v in file.parameters.items()},
        )

    def channel(self, states: Tensor, name: str) -> Tensor:
        """Returns a channel of states (…, channel, *space), float64 (…, *space)."""
        if name not in self.channels:
            raise LilasError(
                f"physics: needs the channel {name!r}; the states have {', '.join(self.channels)}. "
                "Leave evaluation.physics out, or add its field to states.fields."
            )
        return states.select(-1 - len(self.axes), self.channels.index(name)).double()

    def vector(self, states: Tensor, field: str) -> Tensor:
        """Returns a vector field of states, float64 (…, axis, *space)."""
        parts = [self.channel(states, f"{field}_{axis}") for axis in self.axes]
        return torch.stack(parts, -1 - len(self.axes))

    def parameter(self, name: str) -> float:
        """Returns a constant of the trajectory."""
        if name not in self.parameters:
            found = ", ".join(self.parameters) or "none"
            raise LilasError(
                f"physics: needs the parameter {name!r}; the files have {found}. "
                "Leave evaluation.physics out."
            )
        return self.parameters[name]

    def average(self, x: Tensor) -> Tensor:
        """Returns the volume average over space, trapezoidal where points are not periodic."""
        for points, periodic in zip(reversed(self.points), reversed(self.periodic), strict=True):
            x = x @ torch.from_numpy(_weights(points, periodic)).to(x)
        return x

    def derivative(self, x: Tensor, axis: int) -> Tensor:
        """Returns ∂x/∂(axis) (…, *space), by central differences of second order."""
        place, points = axis - len(self.axes), torch.from_numpy(self.points[axis]).to(x)
        if not self.periodic[axis]:
            return torch.gradient(x, spacing=(points,), dim=place, edge_order=2)[0]
        step = (points[-1] - points[0]) / (len(points) - 1)
        return (x.roll(-1, place) - x.roll(1, place)) / (2 * step)


def _weights(points: np.ndarray, periodic: bool) -> np.ndarray:
    """Returns the quadrature weights along an axis, which add up to 1."""
    if periodic:
        return np.full(len(points), 1 / len(points))
    gaps = np.diff(points)
    weights = np.concatenate([[0], gaps]) + np.concatenate([gaps, [0]])
    return weights / weights.sum()


def divergence(u: Tensor, v: Tensor, flow: Flow) -> dict[str, Tensor]:
    """Returns RMS(∇·w) / RMS(∇w) of the velocity w, the mean over members; 0 is incompressible.

    ∇w holds all derivatives of all components. A velocity without gradients has residual 0.
    """
    total = torch.zeros(u.shape[0], dtype=torch.double, device=u.device)
    for member in v:
        w = flow.vector(member, "velocity")
        axes = range(len(flow.axes))
        gradients = [flow.derivative(w, axis) for axis in axes]
        trace = sum(gradients[axis].select(-1 - len(flow.axes), axis) for axis in axes)
        squares = sum(g.square().sum(-1 - len(flow.axes)) for g in gradients)
        norm = flow.average(squares)
        ratio = torch.where(norm > 0, flow.average(trace.square()) / norm, torch.zeros_like(norm))
        total += ratio.sqrt()
    return {"velocity": total / len(v)}


def nusselt_number(states: Tensor, flow: Flow) -> Tensor:
    """Returns Nu = 1 + √(Ra Pr) ⟨b w⟩ of states (…, channel, *space), (…): of conduction, 1.

    b is the buoyancy, w the velocity along the last axis, ⟨·⟩ the volume average, in free-fall
    units between plates that hold b at 1 and 0 (The Well, rayleigh_benard).
    """
    flux = flow.channel(states, "buoyancy") * flow.channel(states, f"velocity_{flow.axes[-1]}")
    scale = math.sqrt(flow.parameter("Rayleigh") * flow.parameter("Prandtl"))
    return 1 + scale * flow.average(flux)


def nusselt(u: Tensor, v: Tensor, flow: Flow) -> dict[str, Tensor]:
    """Returns |mean Nu(v) - Nu(u)| / max(|Nu(u)|, 1)."""
    truth = nusselt_number(u, flow)
    return {"state": (nusselt_number(v, flow).mean(0) - truth).abs() / truth.abs().clamp(min=1)}


def mach_number(states: Tensor, flow: Flow) -> Tensor:
    """Returns M = |m| / √(γ p ρ) of states (…, channel, *space), (…, *space).

    It is not a number where the density ρ or the pressure p is not positive.
    """
    density, pressure = flow.channel(states, "density"), flow.channel(states, "pressure")
    square = flow.vector(states, "momentum").square().sum(-1 - len(flow.axes))
    valid = (density > 0) & (pressure > 0)
    number = torch.sqrt(square / (flow.parameter("gamma") * pressure * density).where(valid, 1.0))
    return number.where(valid, torch.nan)


def mach(u: Tensor, v: Tensor, flow: Flow) -> dict[str, Tensor]:
    """Returns the RMSE of the members' mean Mach number, over the points where all have one.

    Raises:
        LilasError: there is no such point.
    """
    error = (mach_number(v, flow).mean(0) - mach_number(u, flow)).flatten(1)
    valid = error.isfinite()
    if not valid.any(1).all():
        raise LilasError(
            "physics: nowhere are density and pressure positive, so there is no Mach number; the "
            "rollout diverged"
        )
    return {"state": (error.where(valid, 0.0).square().sum(1) / valid.sum(1)).sqrt()}


def energy_residual(u: Tensor, v: Tensor, flow: Flow) -> dict[str, Tensor]:
    """Returns RMS(E - p/(γ - 1) - |m|²/2ρ) / RMS(E), the mean over members.

    An ideal gas has none. Points where the density is not positive count as wholly wrong.
    """
    total = torch.zeros(u.shape[0], dtype=torch.double, device=u.device)
    for member in v:
        energy, density = flow.channel(member, "energy"), flow.channel(member, "density")
        square = flow.vector(member, "momentum").square().sum(-1 - len(flow.axes))
        valid = density > 0
        kinetic = square / (2 * density.where(valid, 1.0))
        internal = flow.channel(member, "pressure") / (flow.parameter("gamma") - 1)
        wrong = (energy - internal - kinetic).where(valid, energy)
        scale = flow.average(energy.square())
        ratio = flow.average(wrong.square()) / scale.where(scale > 0, 1.0)
        total += ratio.sqrt()
    return {"state": total / len(v)}


def negative(u: Tensor, v: Tensor, flow: Flow) -> dict[str, Tensor]:
    """Returns the share of points, over all members, where a positive field is not positive."""
    return {
        name: (flow.channel(v, name) <= 0).flatten(2).double().mean((0, 2))
        for name in flow.channels
        if name in POSITIVE
    }
