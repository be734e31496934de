"""Dead units: no gradient flows to them any more, so they stay as they are for good.

A rectifier (ReLU) is zero, and flat, for every example of a batch; a sigmoid is so far from its middle that its slope is
zero in float32. Either way all weights that lead into the unit get a gradient of exactly zero. One batch may leave a unit
at rest by chance: one that is active for a share p of the examples rests in a batch of n with probability (1 - p)^n, which
for n = 64 is below a thousandth from p = 0.1 on. So the share must be high at each of ``RECORDS`` inspected steps in a row.
Up to a few tenths at rest are what sparse networks do; where more than half of a layer rests, the layer is too wide for
nothing, or its inputs have run away. In the first steps layers that start at zero let nothing through: a twentieth of the
budget must be spent.
"""

from lamina.findings import Finding
from lamina.monitor.monitor import History

RECORDS = 5
MOST = 0.5
EARLY = 0.05  # of the budget


def find(history: History) -> Finding | None:
    """Name the layers of which most units get no gradient."""
    known = history.lasting(lambda step: {name: row[3] for name, row in step.layers.items()}, RECORDS, EARLY)
    dead = {name: share for name, share in known.items() if share > MOST}
    if not dead:
        return None
    worst = next(iter(dead))
    others = f", and of {len(dead) - 1} other layers" if len(dead) > 1 else ""
    return Finding(
        "units.dead",
        "warning",
        f"No gradient reaches {dead[worst]:.0%} of the units of {worst}{others}: they are dead, and stay as they are.",
        "A lower --lr or --clip 1, so that they do not run away; a smaller --size; or a leaky rectifier.",
        tuple(dead)[:20],
        len(dead),
        evidence={"step": history.steps[-1].step, **{name: round(share, 3) for name, share in list(dead.items())[:20]}},
    )
