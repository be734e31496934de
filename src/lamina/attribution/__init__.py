"""Attribution: what in an input made its answer, and what goes through the layers meanwhile."""
