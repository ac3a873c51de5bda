"""Methods: what makes the states that tables, figures and claims compare.

The one list of them. Emulators are the methods of `lilas.study.emulators` and of plug-ins;
baselines are forecasts that learn nothing; bounds are what no emulator of a latent space can beat.
"""

from dataclasses import dataclass
from typing import Literal

from lilas.settings import tag
from lilas.study.entries import EMULATORS


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        name: In files and tables.
        role: `truth`, `emulator`, `bound` or `baseline`.
        predicts: Of emulators, what samplers must fit: `denoiser` or `state`.
        probabilistic: Whether its ensembles have more than one member.
        published: The paper's word for it; empty where the paper has none.
    """

    name: str
    role: Literal["truth", "emulator", "bound", "baseline"]
    predicts: str = ""
    probabilistic: bool = False
    published: str = ""


# In the order of legends and tables.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("truth", "truth"),
        *(
            Method(
                tag(settings, ["method"]),
                "emulator",
                settings.predicts,
                settings.probabilistic,
                settings.published,
            )
            for settings in EMULATORS
        ),
        Method("reconstruction", "bound", published="autoencoder"),
        Method("persistence", "baseline"),
        Method("climatology", "baseline"),
    )
}

# The two that the paper compares.
DIFFUSION, SOLVER = (
    next(name for name, method in METHODS.items() if method.published == word)
    for word in ("diffusion", "neural_solver")
)


def named(*roles: str) -> tuple[str, ...]:
    """Returns the names of the methods with one of the roles, in order."""
    return tuple(name for name, method in METHODS.items() if method.role in roles)
