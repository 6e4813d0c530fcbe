"""``python -m vsrcli`` is ``vsr``."""

import sys


def main() -> None:
    """The ``vsr`` script. Imports take a moment, in which Ctrl-C must not end in a traceback."""
    try:
        from vsrcli.cli import main as run
    except KeyboardInterrupt:
        print("vsr: stopped", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
