"""LAMB and AdamW in PyTorch, to time ours against.

PyTorch has no LAMB. This one is of its foreach functions, which take a list of arrays
and start few kernels, as PyTorch's own optimizers do.
"""

import torch

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-6


def device(backend: str) -> str | None:
    """PyTorch's name of the device that JAX calls by `backend`, if PyTorch has it.

    Example:
        >>> device("cpu"), device("tpu")
        ('cpu', None)
    """
    if backend == "gpu" and torch.cuda.is_available():
        return "cuda"
    return "cpu" if backend == "cpu" else None


def wait(device: str):
    """Returns when the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


class Lamb:
    """The LAMB of `lamb_keras.Lamb`'s defaults, on arrays of its own.

    Args:
        weights, gradients: lists of NumPy arrays, which are copied.
        device: from `device`.

    Example:
        >>> import numpy as np
        >>> w, g = np.float32([3, 4]), np.float32([1e-3, 1e-3])
        >>> lamb = Lamb([w], [g], "cpu", learning_rate=0.1, weight_decay=0.0)
        >>> lamb.step()
        >>> round(float(np.linalg.norm(lamb.weights[0].numpy() - w)), 4)
        0.5
    """

    def __init__(
        self, weights, gradients, device, learning_rate=1e-3, weight_decay=0.01
    ):
        self.weights, self._gradients = (
            [torch.tensor(x, device=device) for x in each]
            for each in (weights, gradients)
        )
        self._first_moments, self._second_moments = (
            [torch.zeros_like(w) for w in self.weights] for _ in range(2)
        )
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._steps = 0

    @torch.no_grad()
    def step(self):
        """One update of the weights."""
        self._steps += 1
        m, v, g = self._first_moments, self._second_moments, self._gradients
        torch._foreach_lerp_(m, g, 1 - _BETA_1)
        torch._foreach_mul_(v, _BETA_2)
        torch._foreach_addcmul_(v, g, g, 1 - _BETA_2)
        root = torch._foreach_sqrt(v)
        torch._foreach_div_(root, (1 - _BETA_2**self._steps) ** 0.5)
        torch._foreach_add_(root, _EPSILON)
        u = torch._foreach_div(m, root)
        torch._foreach_div_(u, 1 - _BETA_1**self._steps)
        torch._foreach_add_(u, self.weights, alpha=self._weight_decay)
        w_norm = torch.stack(torch._foreach_norm(self.weights))
        u_norm = torch.stack(torch._foreach_norm(u))
        defined = torch.minimum(w_norm, u_norm) > 0
        ratio = torch.where(defined, w_norm / u_norm, 1.0)
        torch._foreach_mul_(u, list(ratio.unbind()))
        torch._foreach_add_(self.weights, u, alpha=-self._learning_rate)


class AdamW:
    """PyTorch's AdamW, fused where the device has such a kernel; as `Lamb`."""

    def __init__(
        self, weights, gradients, device, learning_rate=1e-3, weight_decay=0.01
    ):
        self.weights = [torch.tensor(w, device=device) for w in weights]
        for w, g in zip(self.weights, gradients, strict=True):
            w.grad = torch.tensor(g, device=device)
        self._optimizer = torch.optim.AdamW(
            self.weights, lr=learning_rate, weight_decay=weight_decay, fused=True
        )

    def step(self):
        """One update of the weights."""
        self._optimizer.step()
