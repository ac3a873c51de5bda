"""A small perceptron that predicts parameters from tokens: what a latent tells of them."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lilas.seeds import derive

WIDTH = 64
BATCH = 256
LEARNING_RATE = 1e-3
# Steps at most; it is validated every so many, and stopped after so many without a better one.
STEPS, EVERY, PATIENCE = 4000, 50, 10


@dataclass(frozen=True)
class Predictor:
    """A trained perceptron with the standardisation of its inputs and outputs.

    Attributes:
        body: Standardised tokens to the features of the last hidden layer.
        head: Features to standardised parameters.
        inputs: Mean and standard deviation of tokens (channel,) each.
        outputs: Of parameters (parameter,) each; the means are what predicting nothing predicts.
    """

    body: nn.Module
    head: nn.Module
    inputs: tuple[np.ndarray, np.ndarray]
    outputs: tuple[np.ndarray, np.ndarray]

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Returns what the last hidden layer makes of tokens, float32 (token, feature)."""
        with torch.inference_mode():
            return self.body(_standardised(tokens, self.inputs)).numpy()

    def predict(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the parameters predicted of tokens, float64 (token, parameter)."""
        with torch.inference_mode():
            found = self.head(self.body(_standardised(tokens, self.inputs))).double().numpy()
        mean, std = self.outputs
        return found * std + mean


def fit_predictor(
    train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray], *, seed: int
) -> Predictor:
    """Trains a perceptron with two hidden layers; the best validated step of it is kept.

    Args:
        train: Tokens (token, channel) and parameters (token, parameter) to learn from.
        valid: Likewise, to choose the step by.
        seed: Of its first weights and of the order of the tokens.
    """
    inputs, outputs = (_moments(part) for part in train)
    x, y = (_standardised(p, m) for p, m in zip(train, (inputs, outputs), strict=True))
    held_x, held_y = (_standardised(p, m) for p, m in zip(valid, (inputs, outputs), strict=True))
    generator = torch.Generator().manual_seed(derive(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, 1))
        body = nn.Sequential(
            *(nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())
        )
        head = nn.Linear(WIDTH, y.shape[1])
    model = nn.Sequential(body, head)
    # It begins as the mean, which it stays where tokens tell nothing.
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    best, least, waited = copy.deepcopy(model.state_dict()), held_y.square().mean().item(), 0
    for step in range(1, STEPS + 1):
        rows = torch.randint(len(x), (min(BATCH, len(x)),), generator=generator)
        optimizer.zero_grad()
        (model(x[rows]) - y[rows]).square().mean().backward()
        optimizer.step()
        if step % EVERY == 0:
            with torch.no_grad():
                loss = (model(held_x) - held_y).square().mean().item()
            waited += 1
            if loss < least:
                best, least, waited = copy.deepcopy(model.state_dict()), loss, 0
            if waited == PATIENCE:
                break
    model.load_state_dict(best)
    return Predictor(body.eval(), head.eval(), inputs, outputs)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = (values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64))
    return mean, np.where(std > 0, std, 1.0)


def _standardised(values: np.ndarray, moments: tuple[np.ndarray, np.ndarray]) -> Tensor:
    mean, std = moments
    return torch.from_numpy(((values - mean) / std).astype(np.float32))
