#include "ptq/eval_config.h"

#include "data/config_yaml.h"
#include "model/quant_keys.h"
#include "ptq/common_keys.h"

namespace spq::ptq {

using namespace spq::data;

void append_bos_keys(std::vector<Key>& keys, const std::string& prefix, WindowBos& bos) {
  keys.push_back(
      choice_key({.path = prefix + "bos",
                  .doc = "A BOS token in front of every window: one token of text less in each, and "
                         "every token of the text is predicted. For text tokenized without --bos."},
                 bos.each_window, std::vector<Choice<bool>>{{"none", false}, {"each_window", true}}));
  keys.push_back(
      integer_key({.path = prefix + "bos_id",
                   .doc = "The token that bos: each_window uses; -1: bos_token_id of config.json."},
                  bos.id, at_least(-1)));
}

std::vector<Key> bind_keys(EvalConfig& c) {
  std::vector<Key> keys;
  keys.push_back(path_key({.path = "model", .doc = "The model to evaluate.", .required = true}, c.model,
                          "a Hugging Face directory, also one that spq-ptq wrote"));
  keys.push_back(path_key({.path = "tokens",
                           .doc = "The text. Whether it starts with BOS was decided when it was tokenized; "
                                  "BOS in front of every window is the key bos.",
                           .required = true},
                          c.tokens, "a token file (tools/tokenize.py)"));
  keys.push_back(integer_key({.path = "sequence_length",
                              .unit = "tokens",
                              .doc = "Length of a window; windows do not overlap, the tail is dropped."},
                             c.sequence_length, at_least(2)));
  keys.push_back(integer_key({.path = "sequences", .unit = "sequences", .doc = "Windows to use; 0: all."},
                             c.sequences, at_least(0)));
  keys.push_back(
      integer_key({.path = "micro_batch", .unit = "sequences", .doc = "Windows a rank computes at once."},
                  c.micro_batch, at_least(1)));
  append_bos_keys(keys, "", c.bos);
  model::append_quant_keys(keys, c.quant);
  keys.push_back(choice_key({.path = "rotate.r3", .doc = "Transform of keys and queries, online."},
                            c.r3_hadamard, hadamard_or_identity()));
  keys.push_back(choice_key(
      {.path = "rotate.r4",
       .doc =
           "Transform of down_proj's input, online; must be hadamard where it is folded into the weights."},
      c.r4_hadamard, hadamard_or_identity()));
  append_compute_keys(keys, c.compute);
  return keys;
}

EvalConfig load_eval_config(const std::filesystem::path& path, std::span<const std::string> overrides) {
  EvalConfig config;
  read_config_file(path, overrides, bind_keys(config));
  return config;
}

}  // namespace spq::ptq
