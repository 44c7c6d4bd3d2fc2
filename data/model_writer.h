// Writes a Hugging Face model directory, tensor by tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/safetensors_writer.h"

namespace spq::data {

/// A new model whose configuration and tokenizer are those of `source_dir`. Tensors fill shards in the order
/// of the list; one shard becomes model.safetensors, several model-00001-of-0000N.safetensors and an index.
/// config.json comes last: before finish() no program takes the folder for a model.
class ModelWriter {
 public:
  static constexpr uint64_t kDefaultShardBytes = 5'000'000'000;

  /// Makes `model_dir` where it is missing and marks it as unfinished. A folder with that mark is what an
  /// interrupted writer left: its model files are removed. Error naming the folder when it holds anything
  /// else; nothing is touched then. Error on a source without a readable config.json. A tensor larger than
  /// `max_shard_bytes` gets a shard of its own.
  ModelWriter(const std::filesystem::path& source_dir, std::filesystem::path model_dir,
              const std::vector<TensorSpec>& tensors, uint64_t max_shard_bytes = kDefaultShardBytes);
  ~ModelWriter();
  ModelWriter(const ModelWriter&) = delete;
  ModelWriter& operator=(const ModelWriter&) = delete;

  /// Errors as SafetensorsWriter::write(). Tensors in the order of the list keep one file open at a time.
  void write(const std::string& name, const at::Tensor& tensor);

  /// Writes the index, copies generation_config.json and the tokenizer's files byte for byte, writes
  /// config.json (the source's with tie_word_embeddings false) and takes the mark away. Error naming a tensor
  /// that was not written.
  void finish();

 private:
  struct Shard {
    std::string file;
    std::vector<TensorSpec> tensors;
    std::unique_ptr<SafetensorsWriter> writer;  // from its first tensor to its last
    bool done = false;
  };
  void write_index() const;

  std::filesystem::path source_dir_;
  std::filesystem::path model_dir_;
  std::string config_;  // the text of the new config.json
  std::vector<Shard> shards_;
  std::map<std::string, size_t> shard_of_;
};

}  // namespace spq::data
