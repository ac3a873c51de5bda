from lilas.interface.autoencoder import Autoencoder as Autoencoder
from lilas.interface.emulator import Emulator as Emulator
from lilas.interface.loading import load as load
from lilas.interface.results import Study as Study
from lilas.interface.results import open_study as open_study
from lilas.interface.states import read_trajectory as read_trajectory

__version__: str
