"""LILAS: emulating physics in the latent space of autoencoders, from data to table."""

__version__ = "0.2.0.dev0"
