"""An optimizer of the user's own, as source text, with a switch between training and evaluation."""

from __future__ import annotations

AVERAGED_OPTIMIZER = '''\
class Averaged(torch.optim.Optimizer):
    """SGD on z, evaluated at the mean x of all z; the gradient is taken at (x + z) / 2."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr, "k": 0, "train_mode": False})

    def _mix(self, share, training):
        for group in self.param_groups:
            if group["train_mode"] is not training:
                group["train_mode"] = training
                for p in group["params"]:
                    if p in self.state:
                        p.data.lerp_(self.state[p]["z"], share)

    def train(self):
        self._mix(0.5, True)

    def eval(self):
        self._mix(-1.0, False)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            assert group["train_mode"]
            group["k"] += 1
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                p.lerp_(z, -1.0)  # x
                z.sub_(p.grad, alpha=group["lr"])
                p.lerp_(z, 1 / group["k"])
                p.lerp_(z, 0.5)
'''
