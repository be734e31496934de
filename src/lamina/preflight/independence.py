"""Independence: what a network says of an example does not depend on the others of its batch.

An example is asked twice: among others, and among copies of itself. Shapes and padding are the same both times, so
the arithmetic is, too; a difference beyond rounding comes from a layer that mixes examples (a normalisation that is not
switched to its running means, a softmax or a mean over the wrong dimension). Such a network's score depends on who stands
beside whom, and it knows more about its batch than it will when it answers for one example.
"""

import torch

from lamina.findings import Finding
from lamina.preflight.trial import FEW, Check, Trial, outputs, uniform

TOLERANCE = 1e-3  # of the size of the answers; rounding in float32 is a thousand times smaller


def check(trial: Trial) -> Check | None:
    """Ask for one example in two companies."""
    inputs = trial.execution.move(
        trial.store.batch(trial.rows[:FEW])
    ).inputs  # as in evaluation, not as training varies them
    if len(trial.rows) < 2:
        return None
    index, alone = uniform(inputs)
    network = trial.copy()
    for parameter in network.parameters():  # a last layer that starts at zero would answer alike to all
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    among, copied = (outputs(trial, network, given)[index] for given in (inputs, alone))
    size = float(among.abs().mean())
    difference = float((among - copied).abs().max()) / size if size else 0.0
    seen = f"What is said of one changes by {difference:.1g} of its size when the others of its batch are replaced."
    if difference <= TOLERANCE:
        return Check("examples are independent", seen)
    finding = Finding(
        "leak.batch",
        "stop",
        "What the network says of an example depends on the others of its batch: replacing them changes it by "
        f"{difference:.1%} of its size.",
        "Look for a layer that mixes the first dimension: a mean, a softmax or a normalisation over the batch.",
        evidence={"difference": difference},
    )
    return Check("examples are independent", seen, finding)
