"""Run the command line: python -m centernet2."""

from centernet2.cli import main

if __name__ == "__main__":
    main()
