"""Measurements of Lamina beside what its users would pick instead; ``make bench`` runs them (see ``run.py``)."""
