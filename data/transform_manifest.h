// spq_manifest.json beside a saved model: what has been done to its weights. The weights themselves do not
// show it: shapes and names stay those of an ordinary LLaMA.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>

namespace spq::data {

inline constexpr const char* kManifestFile = "spq_manifest.json";

struct TransformManifest {
  /// A Hadamard transform in the weights of down_proj, as kernels::HadamardPlan. Whoever runs the model has
  /// to transform the input of down_proj online.
  struct FoldedHadamard {
    int64_t block = 0;
    int64_t factor = 0;
    bool operator==(const FoldedHadamard&) const = default;
  };
  /// The quantizer that the projections went through. group_size -1: one scale per output channel.
  struct WeightQuantization {
    std::string method;  // "rtn", "gptq", "gptaq"
    int64_t bits = 0;
    std::map<std::string, int64_t>
        other_bits;  // of projections that differ: {"down_proj": 8}; 16: not quantized
    int64_t group_size = -1;
    bool symmetric = true;
    bool integers = false;  // codes, scales and zero points are in the folder integers/
    bool operator==(const WeightQuantization&) const = default;
  };

  bool norms_folded = false;
  bool embedding_centred = false;        // reference.md C2: changes the function of the network
  std::optional<std::string> r1_sha256;  // merged: rotation_sha256 of R1
  std::optional<std::string> r2_sha256;  // merged: rotation_sha256 of the R2 of all layers, in order
  bool r3_online = false;                // queries and keys are to be transformed after RoPE
  std::optional<FoldedHadamard> r4;
  std::optional<WeightQuantization> weights;
  std::string source_fingerprint;  // ModelFiles::fingerprint() of the original model
  std::string spq_version;

  bool operator==(const TransformManifest&) const = default;
};

/// SHA-256 (hex) over the shapes and the bytes of fp32 matrices.
std::string rotation_sha256(std::span<const at::Tensor> rotations);

/// "norms folded, R1, R2, R4" and so on: what the weights went through, for messages; "nothing" when nothing.
std::string describe(const TransformManifest& manifest);

/// Writes `model_dir`/spq_manifest.json, atomically.
void write_manifest(const std::filesystem::path& model_dir, const TransformManifest& manifest);

/// None when `model_dir` has no manifest. Error naming the file and the key on anything unexpected: malformed
/// JSON, another version, missing or unknown keys, values out of range or contradicting one another.
std::optional<TransformManifest> read_manifest(const std::filesystem::path& model_dir);

}  // namespace spq::data
