"""The workloads in PyTorch. Names of modules are those of the paths in Tapeless's files; `benches/training/models` is the original."""

import torch
import torch.nn.functional as F
from torch import nn


class Mlp(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 128), nn.Linear(128, 10)
        self.dropout = nn.Dropout(0.2 * dropout)

    def forward(self, x):
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


class MlpLarge(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 1024), nn.Linear(1024, 1024), nn.Linear(1024, 10)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Cnn(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)
        self.dropout1, self.dropout2 = nn.Dropout(0.25 * dropout), nn.Dropout(0.5 * dropout)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = F.relu(self.fc1(self.dropout1(x).flatten(1)))
        return self.fc2(self.dropout2(x))


class BasicBlock(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.downsample = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.downsample(x) + self.bn2(self.conv2(y)))


class ResNet20(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1), BasicBlock(32, 32, 1))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, t, width = x.shape
        parts = self.c_attn(x).split(width, 2)
        q, k, v = (part.view(b, t, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """Positions and tokens are learnt tables; the last layer is the table of tokens where `tied`."""

    def __init__(self, vocabulary, positions, layers, heads, width, tied):
        super().__init__()
        self.wte = nn.Parameter(0.02 * torch.randn(vocabulary, width))
        self.wpe = nn.Parameter(0.02 * torch.randn(positions, width))
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = None if tied else nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = F.embedding(tokens, self.wte) + self.wpe[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        x = self.ln_f(x)
        scores = F.linear(x, self.wte) if self.lm_head is None else self.lm_head(x)
        return scores.flatten(0, 1)


class Classifier(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(64, 256, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        _, (last, _) = self.rnn(x)
        return self.fc(last[0])


def model(workload, dropout):
    """The model of a workload; `dropout` tells whether activations are dropped."""
    if workload == "gpt":
        return Gpt(65, 64, 4, 4, 128, tied=False)
    if workload == "gpt2":
        return Gpt(50304, 1024, 12, 12, 768, tied=True)
    kinds = {"mlp": Mlp, "mlp-large": MlpLarge, "cnn": Cnn, "resnet20": ResNet20, "lstm": Classifier}
    return kinds[workload](float(dropout))


def optimizer(workload, parameters):
    """The optimizer of a workload, in PyTorch's fastest form."""
    if workload == "resnet20":
        return torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-4, fused=True)
    if workload in ("gpt", "gpt2"):
        rate = 1e-3 if workload == "gpt" else 1e-4
        return torch.optim.AdamW(parameters, rate, weight_decay=0.01, fused=True)
    return torch.optim.Adam(parameters, 1e-3, fused=True)


def inputs(workload, batch):
    """The shape of a batch of floats."""
    shapes = {"cnn": (1, 28, 28), "resnet20": (3, 32, 32), "lstm": (64, 64)}
    return (batch, *shapes.get(workload, (784,)))
