"""Data: sources, kinds of columns, splits, and the store of encoded examples."""
