"""Training steps of the same nets in PyTorch, for `benchmarks.step`.

Of `torch.nn`'s own layers and its AdamW, fused, which does less than LAMB. On a GPU
they are compiled, and compute by autocast in bfloat16 where Keras's do.
"""

import torch
from torch import nn
from torch.nn import functional

from benchmarks import keras_steps
from benchmarks.rows import POSITIONS


def loop(row, size):
    """A function that trains for a round."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _NETS[row.net](row).to(device)
    if row.net == "bert":
        inputs, labels, weights = keras_steps.hidden(row, size)
        inputs, labels = {**inputs, "weights": weights["tokens"]}, {**labels}
    else:
        # Its convolutions are fastest on images that lie as Keras's.
        model = model.to(memory_format=torch.channels_last)
        pixels, labels = keras_steps.data(row, size)
        images = keras_steps.normalize(pixels).transpose(0, 3, 1, 2)
        inputs, labels = {"images": images}, {"labels": labels}
    batches = {
        name: torch.tensor(array, device=device).split(size.batch)
        for name, array in {**inputs, **labels}.items()
    }
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=keras_steps.RATE,
        weight_decay=keras_steps.DECAY,
        fused=True,
    )

    def loss_of(batch):
        with torch.autocast(device, torch.bfloat16, row.half and device == "cuda"):
            return model.loss(**batch)

    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # as XLA's on a GPU
        loss_of = torch.compile(loss_of)

    def run():
        for number in range(size.steps):
            optimizer.zero_grad()
            loss = loss_of({name: parts[number] for name, parts in batches.items()})
            loss.backward()
            optimizer.step()
        return loss.item()

    return run


def peak_bytes():
    """Of the GPU's memory, in this process; None on a processor."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


class Classifier(nn.Module):
    """A net from images to logits, with their cross-entropy."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def loss(self, images, labels):
        logits = self.layers(images).float()
        return functional.cross_entropy(logits, labels.long())


class Sum(nn.Module):
    """The sum of what a branch and a shortcut make of the same."""

    def __init__(self, branch, shortcut=None):
        super().__init__()
        self.branch, self.shortcut = branch, shortcut or nn.Identity()

    def forward(self, x):
        return self.branch(x) + self.shortcut(x)


def lenet(row):
    size = row.shape[0] // 2
    same = row.shape[0] < 28
    pixels = size // 2 if same else (size - 4) // 2  # a side, after both pools
    return Classifier(
        *(nn.Conv2d(row.shape[2], 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(
            nn.Conv2d(6, 16, 5, padding=2 * same),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        ),
        *(nn.Linear(16 * pixels**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, row.sizes["classes"]),
    )


def davidnet(row):
    width = row.sizes["width"]
    layers = [_block(row.shape[2], width)]
    for residual in (True, False, True):
        layers += [_block(width, 2 * width), nn.MaxPool2d(2)]
        width *= 2
        if residual:
            branch = nn.Sequential(_block(width, width), _block(width, width))
            layers.append(Sum(branch))
    linear = nn.Linear(width, row.sizes["classes"], bias=False)
    return Classifier(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), linear, _Eighth())


def resnet50(row):
    width, large = row.sizes["width"], row.shape[0] >= 64
    layers = [_block(row.shape[2], width, *((7, 2) if large else (3, 1)))]
    if large:
        layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = width
    for stage, blocks in enumerate(row.sizes["blocks"]):
        middle = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            branch = nn.Sequential(
                _block(inputs, middle, 1),
                _block(middle, middle, 3, stride),
                _block(middle, 4 * middle, 1, relu=False),
            )
            shortcut = None
            if not block:
                shortcut = _block(inputs, 4 * middle, 1, stride, relu=False)
            layers += [Sum(branch, shortcut), nn.ReLU()]
            inputs = 4 * middle
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Classifier(*layers, nn.Linear(inputs, row.sizes["classes"]))


def _block(inputs, outputs, kernel=3, stride=1, relu=True):
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    layers = [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers[: None if relu else 2])


class _Eighth(nn.Module):
    def forward(self, logits):
        return 0.125 * logits


class Bert(nn.Module):
    """BERT with the heads of its pre-training, and their loss."""

    def __init__(self, row):
        super().__init__()
        width, dropout = row.sizes["width"], row.sizes["dropout"]
        vocabulary = row.sizes["vocab_size"]
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(POSITIONS, width)
        self.segments = nn.Embedding(2, width)
        norm = nn.LayerNorm(width, 1e-12)
        self.embedded = nn.Sequential(norm, nn.Dropout(dropout))
        sizes = width, row.sizes["heads"], 4 * width, dropout
        options = {"activation": "gelu", "layer_norm_eps": 1e-12, "batch_first": True}
        layer = nn.TransformerEncoderLayer(*sizes, **options)
        layers = row.sizes["layers"]
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        norm = nn.LayerNorm(width, 1e-12)
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU("tanh"), norm)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.pooled = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.next = nn.Linear(width, 2)
        for parameter in self.parameters():
            if parameter.ndim > 1:  # as Keras's start
                nn.init.normal_(parameter, std=0.02 * (1024 / width) ** 0.5)

    def loss(
        self,
        token_ids,
        segment_ids,
        padding_mask,
        mask_positions,
        weights,
        tokens,
        is_next,
    ):
        places = torch.arange(token_ids.shape[1], device=token_ids.device)
        x = self.tokens(token_ids) + self.positions(places) + self.segments(segment_ids)
        x = self.encoder(self.embedded(x), src_key_padding_mask=~padding_mask)
        index = mask_positions.long()[..., None].expand(-1, -1, x.shape[-1])
        hidden = self.transform(x.gather(1, index))
        logits = functional.linear(hidden, self.tokens.weight, self.bias).float()
        each = functional.cross_entropy(
            logits.flatten(0, 1), tokens.long().flatten(), reduction="none"
        )
        weights = weights.flatten()
        of_next = self.next(self.pooled(x[:, 0])).float()
        of_next = functional.cross_entropy(of_next, is_next.long())
        return (weights * each).sum() / weights.sum() + of_next


_NETS = {"bert": Bert, "lenet": lenet, "davidnet": davidnet, "resnet50": resnet50}
