"""From a network and its data to findings, before the first epoch: one file per check, with ``check(trial)``."""
