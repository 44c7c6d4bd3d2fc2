// Writes a Hugging Face model directory, file by file; what an interrupted writer finished is kept.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/folder_lock.h"
#include "data/safetensors_writer.h"

namespace spq::data {

/// A new model whose configuration and tokenizer are those of `source_dir`. One shard becomes
/// model.safetensors, several model-00001-of-0000N.safetensors and an index. Each file appears whole or not
/// at all. config.json comes last: before finish() no program takes the folder for a model. The folder is
/// locked while the writer lives.
class ModelWriter {
 public:
  /// The tensors of one file.
  using ShardSpec = std::vector<TensorSpec>;

  /// Makes `model_dir` where it is missing and marks it as unfinished, with `run` in the mark: lines
  /// "key: value" that say what the result depends on. A folder with that mark is what an interrupted writer
  /// left: the files that it finished are kept if its `run` was the same; Error naming the folder and the
  /// first line that differs if not. Error naming the folder when it holds anything else; nothing is touched
  /// then. Error on a source without a readable config.json.
  ModelWriter(const std::filesystem::path& source_dir, std::filesystem::path model_dir,
              const std::vector<ShardSpec>& shards, const std::string& run);
  ~ModelWriter();
  ModelWriter(const ModelWriter&) = delete;
  ModelWriter& operator=(const ModelWriter&) = delete;

  /// Whether a shard is written, by this writer or by the interrupted one.
  bool has(size_t shard) const { return shards_.at(shard).done; }

  /// A tensor of a shard that is written.
  at::Tensor read(const std::string& name) const;

  /// Errors as SafetensorsWriter::write(). Tensors in the order of the list keep one file open at a time.
  void write(const std::string& name, const at::Tensor& tensor);

  /// Writes the index, copies generation_config.json and the tokenizer's files byte for byte, writes
  /// config.json (the source's with tie_word_embeddings false) and takes the mark away. Error naming a tensor
  /// that was not written.
  void finish();

 private:
  struct Shard {
    std::string file;
    ShardSpec tensors;
    std::unique_ptr<SafetensorsWriter> writer;  // from its first tensor to its last
    bool done = false;
  };
  size_t shard_with(const std::string& name) const;
  void claim_folder(const std::string& run);
  void keep_finished();
  void write_index() const;

  std::filesystem::path source_dir_;
  std::filesystem::path model_dir_;
  std::string config_;  // the text of the new config.json
  std::vector<Shard> shards_;
  std::map<std::string, size_t> shard_of_;
  std::optional<FolderLock> lock_;
};

}  // namespace spq::data
