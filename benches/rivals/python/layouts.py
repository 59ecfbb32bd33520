"""Tensors of Tapeless's files (PyTorch's names and layouts) as frameworks want them whose images are channels-last and whose matrices are
[in, out]. Of NumPy's arrays, so that no framework is needed."""

import numpy as np

# Parameters and statistics by their names, in folders of folders.
Tree = dict


def tree(workload: str, tensors: dict[str, np.ndarray]) -> tuple[Tree, Tree]:
    """The nested parameters, and the running statistics, of the flat tensors of a file."""
    parameters, statistics = {}, {}
    for path, values in tensors.items():
        *folders, name = path.split(".")
        node = statistics if name.startswith("running") else parameters
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = arrange(workload, path, values)
    return parameters, statistics


def arrange(workload: str, path: str, values: np.ndarray) -> np.ndarray:
    """A tensor of PyTorch's layout in the one meant here."""
    if values.ndim == 4:
        return values.transpose(2, 3, 1, 0)
    if values.ndim == 2 and path not in ("wte", "wpe"):
        if workload == "cnn" and path == "fc1.weight":
            # Its inputs are a flattened image, of which channels are the last axis here.
            values = values.reshape(128, 64, 12, 12).transpose(0, 2, 3, 1).reshape(128, -1)
        return values.T
    return values


def image(values: np.ndarray) -> np.ndarray:
    """A batch of images with channels last; other batches as they are."""
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values


def inputs(workload: str, batch: int) -> tuple[int, ...]:
    """The shape of a batch whose prediction is timed."""
    return (batch, 28, 28, 1) if workload == "cnn" else (batch, 784)


def merged(parameters: Tree, statistics: Tree) -> Tree:
    """One tree of both."""
    result = dict(parameters)
    for name, value in statistics.items():
        result[name] = merged(result[name], value) if isinstance(value, dict) else value
    return result
