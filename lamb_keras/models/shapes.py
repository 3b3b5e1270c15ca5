"""What sizes a network can have."""


def require_whole(**sizes) -> None:
    """Check that every size is a whole number of at least 1.

    Example:
        >>> require_whole(width=0)
        Traceback (most recent call last):
        ...
        ValueError: width is 0; expected a whole number of at least 1.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(
                f"{name} is {size!r}; expected a whole number of at least 1."
            )


def require_halvings(image_shape, halvings: int) -> None:
    """Check that images of this shape can be halved so often."""
    if min(image_shape) < 1 or min(image_shape[:2]) < 2**halvings:
        raise ValueError(
            f"image_shape is {tuple(image_shape)}; expected a height and width of at "
            f"least {2**halvings}, to be halved {halvings} times by this network."
        )
