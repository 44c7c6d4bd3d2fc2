#!/usr/bin/env python3
"""Check that torch.load(weights_only=True) reads what write_rbin() wrote: check_rbin.py WRITE_EXAMPLE_FILES

The program given writes the example into the folder it is called with. Exits 77 (skipped) where torch cannot be imported.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77


def expected(torch):
    def counting(size, start):
        return torch.arange(size * size, dtype=torch.float32).view(size, size) + start

    return {
        "R1": counting(8, -31.5),
        "model.layers.0.self_attn.R2": counting(4, 0.25),
        "model.layers.1.self_attn.R2": counting(4, 100.25),
    }


def main():
    try:
        import torch
    except (ImportError, OSError) as error:
        print(f"skipped: torch cannot be imported ({error})")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1], folder], check=True)
        loaded = torch.load(Path(folder) / "R.bin", weights_only=True)
    wanted = expected(torch)
    assert type(loaded) is dict, type(loaded)
    assert set(loaded) == set(wanted), sorted(loaded)
    for key, value in wanted.items():
        found = loaded[key]
        assert found.dtype == torch.float32 and not found.requires_grad, (key, found.dtype)
        assert found.shape == value.shape, (key, found.shape)
        assert torch.equal(found, value), (key, found)
        assert found.untyped_storage().nbytes() == found.nbytes, key
    print(f"torch {torch.__version__} reads {len(loaded)} tensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
