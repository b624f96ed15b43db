"""The networks: Kp-RDT, a diffusion transformer conditioned on one token per keypoint, and a plain MLP beside it."""

import math

import torch
from torch import Tensor, nn

from pad_policy.config import SIZES, NetworkName, Size
from pad_policy.observation import InputLayout


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))


def _frequencies(width: int) -> Tensor:
    return torch.exp(torch.linspace(0.0, math.log(1000.0), width // 2))


def _sinusoids(times: Tensor, frequencies: Tensor) -> Tensor:
    """Embed times (B,) as (B, W)."""
    phase = times.unsqueeze(-1) * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


class Attention(nn.Module):
    """Multi-head attention of queries over a context, with an additive mask on the context."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, Q, W), context (B, C, W), mask (B, 1, 1, C) added to the scores or None -> (B, Q, W)."""
        batch, queries, width = x.shape
        size = width // self.heads
        q = self.query(x).view(batch, queries, self.heads, size).transpose(1, 2)
        k, v = self.key_value(context).view(batch, -1, 2, self.heads, size).permute(2, 0, 3, 1, 4).unbind(0)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(attended.transpose(1, 2).reshape(batch, queries, width))


class Block(nn.Module):
    """Self-attention over the input tokens, cross-attention to the keypoint tokens, feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_forward = (nn.LayerNorm(width) for _ in range(3))
        self.attend_self = Attention(width, heads)
        self.attend_keypoints = Attention(width, heads)
        self.forward_network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, keypoints: Tensor, mask: Tensor) -> Tensor:
        """x (B, I, W), keypoint tokens (B, C, W), mask (B, 1, 1, C) -> (B, I, W)."""
        y = self.norm_self(x)
        x = x + self.attend_self(y, y, None)
        x = x + self.attend_keypoints(self.norm_cross(x), keypoints, mask)
        return x + self.forward_network(self.norm_forward(x))


class KpRdt(nn.Module):
    """The network of one denoising step.

    A keypoint token is an MLP of the point's flattened history and its per-step validity, plus the embedding of
    its group; points carry no other order, so exchanging two points of a group changes nothing. A point that is
    lost in every step is masked out of the attention. One learned token is always there, so that a frame
    without any keypoint is defined.
    """

    def __init__(self, layout: InputLayout, size: Size, group_indices: list[int]) -> None:
        super().__init__()
        width, layers, heads = SIZES[size]
        self.layout = layout
        self.width = width
        self.register_buffer("group_indices", torch.tensor(group_indices, dtype=torch.int64), persistent=False)
        self.register_buffer("frequencies", _frequencies(width), persistent=False)
        self.encode_keypoint = _mlp(layout.history * (layout.features + 1), width)
        self.group_embedding = nn.Embedding(layout.groups, width)
        self.empty_token = nn.Parameter(torch.zeros(1, 1, width))
        self.norm_keypoints = nn.LayerNorm(width)
        self.encode_proprioception = _mlp(layout.proprioception, width)
        self.encode_action = _mlp(20, width)
        self.encode_step = _mlp(width, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, layout.horizon + 2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm_out = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 20))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, keypoints: Tensor, valid: Tensor, proprioception: Tensor, noisy: Tensor, times: Tensor) -> Tensor:
        """One evaluation, everything normalised.

        keypoints (B, N, To, F); valid (B, N, To) 1 seen, 0 lost; proprioception (B, P); noisy (B, H, 20);
        times (B,) in [0, 1]. Returns (B, H, 20): velocity (flow matching) or clean chunk (DDPM).
        """
        seen = keypoints * valid.unsqueeze(-1)
        features = torch.cat([seen.flatten(2), valid], dim=-1)
        tokens = self.encode_keypoint(features) + self.group_embedding(self.group_indices)
        tokens = torch.cat([tokens, self.empty_token.expand(tokens.shape[0], -1, -1)], dim=1)
        tokens = self.norm_keypoints(tokens)
        lost = (valid.sum(-1) < 0.5).to(tokens.dtype) * -1e4
        mask = torch.cat([lost, torch.zeros_like(lost[:, :1])], dim=1)[:, None, None, :]
        step = self.encode_step(_sinusoids(times, self.frequencies))
        x = torch.cat(
            [self.encode_proprioception(proprioception).unsqueeze(1), self.encode_action(noisy), step.unsqueeze(1)],
            dim=1,
        )
        x = x + self.positions
        for block in self.blocks:
            x = block(x, tokens, mask)
        return self.head(self.norm_out(x[:, 1:-1]))


class PlainMlp(nn.Module):
    """Layers over every input flattened: what the transformer is compared with.

    Points are told apart by their place in the input, so, unlike for `KpRdt`, their order within a group matters.
    """

    def __init__(self, layout: InputLayout, size: Size) -> None:
        super().__init__()
        width, layers, _ = SIZES[size]
        hidden = 4 * width
        self.layout = layout
        self.register_buffer("frequencies", _frequencies(width), persistent=False)
        points = layout.keypoints * layout.history * (layout.features + 1)
        self.enter = nn.Linear(points + layout.proprioception + layout.horizon * 20 + width, hidden)
        self.blocks = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.head = nn.Linear(hidden, layout.horizon * 20)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, keypoints: Tensor, valid: Tensor, proprioception: Tensor, noisy: Tensor, times: Tensor) -> Tensor:
        """One evaluation; inputs and answer as of `KpRdt.forward`. A lost step of a point enters as lost and zero."""
        seen = keypoints * valid.unsqueeze(-1)
        parts = [seen.flatten(1), valid.flatten(1), proprioception, noisy.flatten(1)]
        x = self.enter(torch.cat([*parts, _sinusoids(times, self.frequencies)], dim=-1))
        for layer in self.blocks:
            x = layer(nn.functional.gelu(x))
        return self.head(nn.functional.gelu(x)).unflatten(-1, (self.layout.horizon, 20))


PolicyNetwork = KpRdt | PlainMlp


def make_network(name: NetworkName, layout: InputLayout, size: Size, group_indices: list[int]) -> PolicyNetwork:
    """The network called `name`; its initial weights come from torch's global generator."""
    return PlainMlp(layout, size) if name == "mlp" else KpRdt(layout, size, group_indices)
