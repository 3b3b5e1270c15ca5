"""Names that several parts of the package go by, some of which do not import Keras."""

SOLVERS = ("momentum", "adagrad", "adam", "adamw", "lars", "lamb")
# A trailing "+" adds Goyal's learning-rate recipe.
SOLVERS_AND_GOYALS = (*SOLVERS, *(f"{name}+" for name in SOLVERS))
# Those whose update has a weight decay.
DECAYING_SOLVERS = ("adamw", "lars", "lamb")
# Of adamw: the part of the weights that a step takes off is λ, or ηλ.
WEIGHT_DECAY_FORMS = ("per_step", "times_learning_rate")

# How Keras ends the paths of variables that decay and L2 terms often leave alone; the
# scale is RMSNormalization's.
NORMALIZATION = ("gamma", "beta", "scale")
BIAS = "bias"


def base(solver: str) -> str:
    """The solver of a row, without the "+" that stands for Goyal's schedule.

    Example:
        >>> base("adamw+"), base("lamb")
        ('adamw', 'lamb')
    """
    return solver.removesuffix("+")
