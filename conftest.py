"""What all tests have in common."""

import os

from lamb_keras.batch import compiled

# Many tests, and the kernels that they start, compile the same programs: they find them
# where runs do. For JAX, which reads this when it is imported.
os.environ.update(compiled.variables(os.environ))
