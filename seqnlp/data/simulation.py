"""A ball in a box, simulated: series whose laws are known."""

import numpy as np


GRAVITY = 9.81  # m/s^2
BOX = (4.0, 3.0)  # width and height, in m


def simulate_balls(
    num_balls: int,
    num_steps: int,
    seed: int = 0,
    step: float = 0.05,
    box: tuple[float, float] = BOX,
    speed: float = 3.0,
    restitution: float = 0.85,
    noise: float = 0.01,
) -> np.ndarray:
    """
    Balls that fly through a box under gravity, without air, and bounce off its floor, ceiling and walls.

    Each starts anywhere in the box with a normally distributed velocity. Between two measurements the parabola is
    computed exactly in 20 pieces; a piece that leaves the box is mirrored at the wall, and the velocity across the
    wall turned round and damped.

    Args:
        num_balls: Number of trajectories.
        num_steps: Measurements of each.
        seed: Fixes them.
        step: Time between two measurements, in s.
        box: Width and height, in m.
        speed: Standard deviation of each component of the first velocity, in m/s.
        restitution: Share of the speed across a wall that a bounce leaves.
        noise: Standard deviation of the error of each measured coordinate, in m.

    Returns:
        Measured positions, `(num_balls, num_steps, 2)`: distance from the left wall and height, in m.
    """
    generator = np.random.default_rng(seed)
    size = np.array(box)
    position = generator.uniform(0, size, (num_balls, 2))
    velocity = generator.normal(0, speed, (num_balls, 2))
    acceleration = np.array([0.0, -GRAVITY])
    pieces, path = 20, []
    piece = step / pieces
    for _ in range(num_steps):
        path.append(position.copy())
        for _ in range(pieces):
            position = position + velocity * piece + acceleration * piece**2 / 2
            velocity = velocity + acceleration * piece
            wall = np.where(position < 0, 0.0, size)
            outside = (position < 0) | (position > size)
            position = np.where(outside, 2 * wall - position, position)
            velocity = np.where(outside, -restitution * velocity, velocity)
    path = np.stack(path, axis=1)
    return path + generator.normal(0, noise, path.shape)
