"""Entry point of the ``vsr`` script and of ``python -m vsrcli``."""

import sys


def main() -> None:
    """Run the command line of this process and exit.

    Importing the program takes a moment, in which Ctrl-C must not end in a traceback.
    """
    try:
        from vsrcli.system.signals import exit_on_signals

        exit_on_signals()
    except KeyboardInterrupt:
        print("vsr: stopped", file=sys.stderr)
        sys.exit(130)
    from vsrcli.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
