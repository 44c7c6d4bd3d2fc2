#!/usr/bin/env python3
"""Make python_R.bin and python_tokens.h5 beside this file: what the Python programs write, for the tests to read.

    python3 tests/data/make_python_files.py

R.bin holds what the reference's optimize_rotation.py saves on a GPU (storages marked cuda:0): hidden 8, 2 layers,
head_dim 4; R2 of layer 1 in bfloat16. Needs torch, h5py and numpy.
"""
from pathlib import Path

import h5py
import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent


def householder(size):
    """I - 2 v v^T / (v v^T) for v = (1, 2, ..., size)."""
    v = torch.arange(1, size + 1, dtype=torch.float64)
    return torch.eye(size, dtype=torch.float64) - 2 * torch.outer(v, v) / v.dot(v)


def write_rbin():
    hadamard = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    torch.serialization.location_tag = lambda storage: "cuda:0"
    torch.save({
        "R1": householder(8).float(),
        "model.layers.0.self_attn.R2": householder(4).float(),
        "model.layers.1.self_attn.R2": hadamard.bfloat16(),
    }, FOLDER / "python_R.bin")


def write_tokens():
    with h5py.File(FOLDER / "python_tokens.h5", "w") as file:
        file.attrs.update({
            "format": "spq-tokens", "version": np.int64(1), "tokenizer_sha256": "0" * 64,
            "vocab_size": np.int64(300), "source": "made up", "layout": "whole", "bos": np.int64(-1),
        })
        tokens = (np.arange(1000) * 7 % 300).astype(np.uint32)
        file.create_dataset("tokens", data=tokens, chunks=(128,), maxshape=(None,), fletcher32=True,
                            compression="gzip")


if __name__ == "__main__":
    write_rbin()
    write_tokens()
