"""A conditional random field: a chain of tags along time (Lafferty, McCallum & Pereira 2001; Collobert et al. 2011).

    score of a path y = start[y_0] + sum over t of scores[t, y_t] + sum of transitions[y_t, y_t+1] + end[y_T-1]
    p(y | scores) = exp(score of y) / sum of exp(score) over all paths

The sum is the forward algorithm, the best path Viterbi's, both one step of time after another; the marginals are the
gradient of the logarithm of that sum. Columns have lengths, and what stands in their padding counts for nothing.
"""

import torch
from torch import Tensor, nn


class Chain(nn.Module):
    """The scores of a path beside those of its tags: transitions [K, K], from row to column, start and end [K].

    ``generator`` draws them uniform in +-``bound``.
    """

    def __init__(self, tags: int, *, bound: float = 0.1, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if tags < 1:
            raise ValueError(f"a chain needs at least one tag, not {tags}")
        self.transitions = nn.Parameter(torch.empty(tags, tags))
        self.start, self.end = nn.Parameter(torch.empty(tags)), nn.Parameter(torch.empty(tags))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def nats(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """-log p of the path ``tags`` (int64 [T, B], any tag in the padding), scores [T, B, K]: [B]."""
        return self.log_partition(scores, lengths) - self.score(scores, tags, lengths)

    def score(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Of the paths ``tags``: [B]."""
        inside = _inside(scores, lengths)
        own = scores.gather(2, tags[..., None])[..., 0]
        steps = torch.cat((self.start[tags[:1]], self.transitions[tags[:-1], tags[1:]]))
        last = tags.gather(0, lengths[None] - 1)[0]
        return torch.where(inside, own + steps, 0.0).sum(0) + self.end[last]

    def log_partition(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """log of the sum of exp(score) over all paths: [B].

        What a long sentence adds up to is kept apart, in double: beside it single precision would lose the differences.
        """
        inside = _inside(scores, lengths)[..., None]
        factors, reached = self.transitions.exp(), self.start + scores[0]
        passed = torch.zeros(reached.shape[0], 1, dtype=torch.float64, device=scores.device)
        for own, runs in zip(scores[1:], inside[1:], strict=True):
            highest = reached.detach().amax(1, keepdim=True)
            after = ((reached - highest).exp() @ factors).log() + own
            reached = torch.where(runs, after, reached)
            passed += torch.where(runs, highest, 0.0)
        return (torch.logsumexp(reached + self.end, 1).double() + passed[:, 0]).to(scores.dtype)

    def log_marginals(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """log p of each tag at each time step by itself: [T, B, K], without a graph; 0 in the padding."""
        with torch.enable_grad():
            leaf = scores.detach().clone().requires_grad_()
            (marginals,) = torch.autograd.grad(self.log_partition(leaf, lengths).sum(), leaf)
        smallest = torch.finfo(marginals.dtype).tiny
        return torch.where(_inside(scores, lengths)[..., None], marginals.clamp(smallest, 1.0).log(), 0.0)

    @torch.no_grad()
    def best(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """The path of the highest score: int64 [T, B]; in the padding its last tag again."""
        inside = _inside(scores, lengths)[..., None]
        reached, came_from = self.start + scores[0], []
        stay = torch.arange(scores.shape[2], device=scores.device).expand(scores.shape[1], -1)
        for own, runs in zip(scores[1:], inside[1:], strict=True):
            best = (reached[:, :, None] + self.transitions).max(1)
            reached = torch.where(runs, best.values + own, reached)
            came_from.append(torch.where(runs, best.indices, stay))
        path = [(reached + self.end).argmax(1)]
        for before in reversed(came_from):
            path.append(before.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1])


def _inside(scores: Tensor, lengths: Tensor) -> Tensor:
    """Whether a time step lies within its column: [T, B]."""
    return torch.arange(len(scores), device=scores.device)[:, None] < lengths
