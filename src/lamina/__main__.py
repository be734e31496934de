"""``python -m lamina``: the command line, where no ``lamina`` is on the path."""

from lamina.cli import main

if __name__ == "__main__":
    main()
