"""Models that start from other weights, of which some may stay as they are."""

from typing import Any

from torch import Tensor, nn

from lilas.errors import LilasError
from lilas.study.starts import check_fit


def begin(model: nn.Module, state: dict[str, Tensor], start: Any, where: str) -> None:
    """Puts weights into a model, all or those of some parts, and freezes what is not to be trained.

    Args:
        model: The model, its weights drawn.
        state: Weights by the model's names.
        start: A `lilas.study.starts.Start`.
        where: For messages.

    Raises:
        LilasError: a part does not exist, the weights do not fit, or nothing is left to train.
    """
    own = model.state_dict()
    shapes = [{key: tuple(value.shape) for key, value in one.items()} for one in (own, state)]
    try:
        check_fit(start, where, *shapes)
    except ValueError as error:
        raise LilasError(str(error)) from None
    model.load_state_dict({key: state[key] if start.takes(key) else own[key] for key in own})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not start.freezes(name))


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Returns the parameters that are trained."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def to_training(model: nn.Module) -> None:
    """Puts a model in training mode, but for modules whose parameters are all frozen.

    Those compute as they do once trained: no dropout, and running statistics that stay.
    """
    model.train()
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
