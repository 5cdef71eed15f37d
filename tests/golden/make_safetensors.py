#!/usr/bin/env python3
"""Writes tests/golden/safetensors/python.safetensors with the reference library: every type that a network may come in, a scalar, an
empty tensor, and half-precision values beside PyTorch's own conversion of them. Needs torch and safetensors."""
import pathlib
import torch
from safetensors.torch import save_file

out = pathlib.Path(__file__).parent / "safetensors"
out.mkdir(exist_ok=True)
# subnormals, the smallest normal, the largest, infinities, both zeros, every 257th pattern; no NaN: those are compared by pattern in C
bits = torch.tensor([0, 0x8000, 1, 0x8001, 0x3FF, 0x83FF, 0x400, 0x8400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7F80, 0xFF80, 0x7F7F, 0x0080, 0x007F]
                    + list(range(0, 65536, 257)), dtype=torch.int32).to(torch.int16)
tensors = {}
for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
    v = bits.view(dtype)
    v = v[~torch.isnan(v)].clone()
    tensors[name], tensors[name + ".expected"] = v, v.float()
tensors["f32"] = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 7
tensors["f64"] = torch.arange(5, dtype=torch.float64) / 3
tensors["i64"] = torch.tensor([-(2**63), -1, 0, 2**63 - 1])
tensors["i32"] = torch.tensor([[1, -2], [3, -4]], dtype=torch.int32)
tensors["u8"] = torch.arange(7, dtype=torch.uint8)
tensors["bool"] = torch.tensor([True, False, True])
tensors["scalar"] = torch.tensor(2.5)
tensors["empty"] = torch.zeros(0, 3)
save_file(tensors, out / "python.safetensors", metadata={"profile": "small", "note": "ünï \"quoted\""})
