"""The steps of a trajectory that a rollout goes over, one way in time or the other."""

from typing import Literal

Direction = Literal["forward", "backward"]


def rollout_steps(
    start: int, context: int, stride: int, last: int, direction: Direction = "forward"
) -> range:
    """Returns the steps of a rollout: its context, then every `stride` up to lead time `last`.

    Forward, the last context state lies at `start`, or as soon after it as the context has room
    (official code 1.1.0). Backward, a rollout ends at `start`: its context lies after the states
    that it generates, the latest first. Lead times count, either way, from the last context state.
    """
    begin = start + last // stride * stride if direction == "backward" else start
    known = (context - 1) * stride
    if direction == "backward":
        after = steps_from(begin, stride, last, direction)
        return range(begin + known, after.stop, after.step)
    first = max(0, begin - known)
    return range(first, steps_from(first + known, stride, last).stop, stride)


def steps_from(begin: int, stride: int, last: int, direction: Direction = "forward") -> range:
    """Returns the steps of a rollout from that of lead time 0, `begin`, up to lead time `last`."""
    span = last // stride * stride + 1
    way = 1 if direction == "forward" else -1
    return range(begin, begin + way * span, way * stride)


def reached(
    start: int, context: int, stride: int, last: int, direction: Direction, steps: int
) -> int:
    """Returns the lead time up to which a rollout finds its truth in a trajectory of so many steps.

    It is at most `last`, 0 where there is none; other arguments are those of `rollout_steps`.
    """
    leads = range(last // stride * stride, 0, -stride)
    spans = ((lead, rollout_steps(start, context, stride, lead, direction)) for lead in leads)
    return next((lead for lead, span in spans if max(span) < steps), 0)
