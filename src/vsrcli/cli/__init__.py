"""The command line: :mod:`vsrcli.cli.main` has the program, each command a module of its own."""
