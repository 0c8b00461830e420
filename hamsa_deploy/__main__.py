"""`python -m hamsa_deploy`: the command `hamsa`."""

import sys

from hamsa_runtime.cli.hamsa import main

if __name__ == "__main__":
    sys.exit(main())
