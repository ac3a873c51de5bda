"""LILAS: emulating physics in the latent space of autoencoders, from data to table.

`lilas.load` returns a trained model that is called, `lilas.open_study` the results of a study,
`lilas.read_trajectory` states to call a model with; docs/python.md shows them.
"""

from importlib import import_module

__version__ = "0.2.0"

# Where they are; `__init__.pyi` tells editors.
_HOMES = {
    "Autoencoder": "autoencoder",
    "Emulator": "emulator",
    "Study": "results",
    "load": "loading",
    "open_study": "results",
    "read_trajectory": "states",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    # Torch takes seconds to import, which the command line need not wait for.
    if name not in _HOMES:
        raise AttributeError(f"module 'lilas' has no attribute {name!r}")
    return getattr(import_module(f"lilas.interface.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
