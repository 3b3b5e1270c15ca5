"""`python -m lamb_keras` is `lamb-keras`."""

import sys

from lamb_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())
