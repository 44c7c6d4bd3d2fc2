// What a run is made from, as facts that the ranks of a job compare before they start
// (dist/same_everywhere.h). Hashes are the first 16 digits of a SHA-256. Little is read: no file of weights
// or tokens whole.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/fact.h"
#include "data/config_key.h"
#include "data/model_files.h"

namespace spq::data {

/// This process's program: its version, the bytes of its file; and the version of the HDF5 library.
std::vector<Fact> program_facts(const std::string& version);

/// The value of every key, one fact each, then the bytes of the configuration file and those of the model's
/// config.json. A file that is not there is a fact too: readers say later what they miss.
std::vector<Fact> config_facts(std::span<const Key> keys, const std::filesystem::path& config_file,
                               const std::filesystem::path& model_dir);

/// ModelFiles::fingerprint(): headers, and the first and last 4 KiB of each tensor.
Fact weights_fact(const ModelFiles& files);

/// Size and at most 1 MiB of a file, evenly spread, its ends included. An empty path is a fact too.
Fact sampled_fact(const std::string& name, const std::filesystem::path& path);

}  // namespace spq::data
