"""One file per family of networks; the file's name is the family's name."""
