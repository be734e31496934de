"""Parts of networks that more than one network or task needs, and only those."""
