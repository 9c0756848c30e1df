"""The entry point, also of `python -m embstore_cli`."""

import sys


def run() -> None:
    """Run the command line; Ctrl-C ends it with one line and exit code 130, even while the commands are imported."""
    try:
        from embstore_cli.main import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    run()
