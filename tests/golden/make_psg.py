#!/usr/bin/env python3
"""References for tests/core/mffa/test_cutpaste.c and test_psg.c, made with PyTorch and torchvision; none of this project's code takes part.

    python3 tests/golden/make_psg.py            writes mffa/psg*.safetensors beside this script
Needs numpy, safetensors, torch and torchvision. The weights drawn from torch's seed are the same with the same version of torch.
"""
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torchvision.models.resnet import BasicBlock
from torchvision.transforms import functional as T
from make_mffa import HERE, Philox

nn = torch.nn
SIDE, SAMPLES, SEED = 64, 6, 2**33 + 5


def stage(i, o, stride):
    return nn.Sequential(BasicBlock(i, o, stride, nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))))


class ResNet(nn.Module):
    """torchvision's, thinner, with any number of stages; the head sits on the pooled last one."""

    def __init__(self, widths):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        before = [64] + widths
        self.stages = len(widths)
        for k, width in enumerate(widths):
            setattr(self, f"layer{k + 1}", stage(before[k], width, 2 if k else 1))
        self.fc = nn.Linear(widths[-1], 3)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for k in range(self.stages):
            x = getattr(self, f"layer{k + 1}")(x)
        return self.fc(x.mean((2, 3)))


def four_stages():
    """A backbone as training leaves it: a wrapper's prefix, a classifier, counters; weights in float16 to be small."""
    torch.manual_seed(11)
    net = ResNet([8, 12, 16, 24])
    state = {f"module.{k}": v.half() if v.dtype == torch.float32 else v for k, v in net.state_dict().items() if not k.startswith("fc.")}
    state["module.fc.weight"], state["module.fc.bias"] = torch.randn(5, 24).half(), torch.randn(5).half()
    save_file({k: v.contiguous() for k, v in state.items()}, HERE / "psg_backbone.safetensors")


def some(t):
    """At most 64 values of a tensor, evenly spread."""
    flat = t.detach().flatten()
    return flat[:: (flat.numel() + 63) // 64].clone()


def two_steps(name, file, widths, out):
    """Two steps of SGD in training mode, so that momentum and weight decay have their say."""
    net = ResNet(widths)
    state = {k.removeprefix("module."): v.float() for k, v in load_file(HERE / file).items() if "fc." not in k and "num_batches" not in k}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all("fc." in k or "num_batches" in k for k in missing)
    r, bound = Philox(SEED, 201), widths[-1] ** -0.5
    with torch.no_grad():
        for t in (net.fc.weight, net.fc.bias):
            t.copy_(torch.tensor([-bound + 2 * bound * r.unit() for _ in range(t.numel())]).reshape(t.shape))
    r = Philox(SEED, 1)
    x = torch.tensor([r.unit() for _ in range(SAMPLES * 3 * SIDE * SIDE)]).reshape(SAMPLES, 3, SIDE, SIDE)
    x[SAMPLES // 3:] *= 0.5
    x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    y = torch.arange(SAMPLES) // (SAMPLES // 3)
    sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    losses, right = [], []
    net.train()
    for _ in range(2):
        logits = net(x)
        loss = F.cross_entropy(logits, y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
        right.append((logits.argmax(1) == y).sum().item())
    out[f"{name}.losses"], out[f"{name}.right"] = torch.tensor(losses, dtype=torch.float64), torch.tensor(right)
    momentum = {k: sgd.state[p]["momentum_buffer"] for k, p in net.named_parameters()}
    for k, v in net.state_dict().items():
        if "num_batches" in k:
            continue
        ours = k.replace("fc.", "head.")
        out[f"{name}.after.{ours}"], out[f"{name}.change.{ours}"] = some(v), (v - before[k]).abs().max().reshape(1)
        if k in momentum:
            out[f"{name}.momentum.{ours}"] = some(momentum[k])


def jitter(out):
    """torchvision's colour changes in every order of a few amounts; the picture has greys, black, white, pure and equal colours."""
    rng = np.random.default_rng(12)
    image = torch.from_numpy(rng.random((3, 12, 16), np.float32))
    image[:, 0] = image[0, 0]
    image[:, 1, :8] = torch.tensor([[0, 1, 1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 0, 0, 1, 0, 1, 1]], dtype=torch.float32)
    steps = (T.adjust_brightness, T.adjust_contrast, T.adjust_saturation, T.adjust_hue)
    amounts, orders, results = [], [], []
    for _ in range(12):
        amount = np.append(rng.uniform(0.9, 1.1, 3), rng.uniform(-0.1, 0.1))
        order = rng.permutation(4)
        x = image
        for k in order:
            x = steps[k](x, float(amount[k]))
        amounts.append(amount), orders.append(order), results.append(x)
    out["jitter.image"], out["jitter.results"] = image, torch.stack(results)
    out["jitter.amounts"], out["jitter.orders"] = torch.tensor(np.array(amounts)), torch.tensor(np.array(orders))


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    four_stages()
    found = {}
    two_steps("three", "tiny_backbone.safetensors", [8, 16, 32], found)
    two_steps("four", "psg_backbone.safetensors", [8, 12, 16, 24], found)
    jitter(found)
    save_file(found, HERE / "psg.safetensors")
