#!/usr/bin/env python3
"""Check that stock transformers loads merged models: check_merged.py WRITE_MERGED_MODEL FIXTURES

Every fixture is merged with random rotations by the program given; its logits have to be those stored beside the
original. Exits 77 (skipped) where torch, transformers or safetensors cannot be imported.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
# Relative. F16 and BF16 weights are rounded once more after they were rotated.
TOLERANCE = {"f16": 2e-3, "bf16": 1.5e-2}
FP32_TOLERANCE = 1e-4


def check_fixture(program, fixture, out, torch, load_file, model_class):
    """The relative error of the logits of one merged fixture."""
    subprocess.run([program, fixture, out], check=True)
    model, info = model_class.from_pretrained(
        out, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], f"{fixture.name}: {kind} {info[kind]}"
    assert not model.config.tie_word_embeddings, fixture.name
    expected = load_file(fixture / "expected.safetensors")
    with torch.no_grad():
        logits = model.eval()(input_ids=expected["input_ids"]).logits.double()
    wanted = expected["logits"].double()
    return ((logits - wanted).norm() / wanted.norm()).item()


def main():
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import torch
        from safetensors.torch import load_file
        from transformers import AutoModelForCausalLM
    except (ImportError, OSError) as error:
        print(f"skipped: torch, transformers or safetensors cannot be imported ({error})")
        return SKIPPED
    program = sys.argv[1]
    fixtures = sorted(path.parent for path in Path(sys.argv[2]).glob("*/expected.safetensors"))
    assert fixtures, f"no fixtures in {sys.argv[2]}"
    for fixture in fixtures:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "merged"
            error = check_fixture(program, fixture, out, torch, load_file, AutoModelForCausalLM)
        print(f"{fixture.name}: relative error of the logits {error:.2e}")
        assert error <= TOLERANCE.get(fixture.name, FP32_TOLERANCE), fixture.name
    return 0


if __name__ == "__main__":
    sys.exit(main())
