"""``python -m vsrcli`` is ``vsr``."""

from vsrcli.cli import main

if __name__ == "__main__":
    main()
