#include "data/pickle_reader.h"

#include <algorithm>
#include <memory>
#include <variant>

#include "core/error.h"
#include "data/file_bytes.h"
#include "data/pickle_values.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

constexpr size_t kMaxDepth = 4;  // of tuples within tuples: the programs have 2
constexpr size_t kMaxStack = 1 << 20;

/// A pickle program and the machine that runs it.
class Machine {
 public:
  Machine(std::string_view program, const std::string& place) : code_(program, place), place_(place) {}

  Value run() {
    code_.expect("\x80\x02", "pickle program");
    while (!step()) {
      check(stack_.size() <= kMaxStack, "{}: damaged: its pickle program needs too much memory", place_);
    }
    return pop();
  }

 private:
  using Operation = unsigned char;

  Value pop() {
    check(!stack_.empty(), "{}: damaged: its pickle program takes what is not there", place_);
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  template <class T>
  T pop_as(const char* expected) {
    Value value = pop();
    T* found = std::get_if<T>(&value);
    check(found != nullptr, "{}: its pickle program has a {}, expected {}", place_, kind_of(value), expected);
    return std::move(*found);
  }
  /// What lies above the topmost mark.
  std::vector<Value> pop_to_mark() {
    std::vector<Value> items;
    for (Value value = pop(); !std::holds_alternative<Mark>(value); value = pop())
      items.push_back(std::move(value));
    std::reverse(items.begin(), items.end());
    return items;
  }
  void push_tuple(std::vector<Value> items) {
    size_t depth = 1;
    for (const Value& item : items) {
      const auto* inner = std::get_if<std::shared_ptr<const Tuple>>(&item);
      if (inner != nullptr) depth = std::max(depth, (*inner)->depth + 1);
    }
    check(depth <= kMaxDepth, "{}: its pickle program has tuples in tuples, more than {} deep", place_,
          kMaxDepth);
    stack_.emplace_back(std::make_shared<const Tuple>(Tuple{std::move(items), depth}));
  }
  void push_last(size_t count) {
    std::vector<Value> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push_tuple(std::move(items));
  }

  bool step();
  bool step_number(Operation operation);
  bool step_memory(Operation operation);
  std::string line();
  int64_t long_number();
  void store(uint64_t slot);
  void load(uint64_t slot);
  void push_storage();
  void reduce();
  PickledTensor tensor(const Tuple& arguments) const;
  std::vector<int64_t> sizes(const Value& value) const;
  template <class T>
  const T& argument(const Tuple& tuple, size_t i, const char* expected) const;
  void set_items(const std::vector<Value>& items);

  FieldReader code_;
  std::string place_;
  std::vector<Value> stack_;
  std::map<uint64_t, Value> memory_;
};

/// One operation; true at the end of the program.
bool Machine::step() {
  const auto operation = static_cast<Operation>(code_.number(1));
  switch (operation) {
    case '.':
      return true;
    case '}':
      stack_.emplace_back(std::make_shared<std::map<std::string, PickledTensor>>());
      return false;
    case '(':
      stack_.emplace_back(Mark{});
      return false;
    case ')':
      push_tuple({});
      return false;
    case 't':
      push_tuple(pop_to_mark());
      return false;
    case 0x85:
    case 0x86:
    case 0x87:
      push_last(operation - 0x84u);
      return false;
    case 'X':
      stack_.emplace_back(std::string(code_.text(code_.number(4))));
      return false;
    case 'c': {
      const std::string module = line();
      stack_.emplace_back(Global{module + " " + line()});
      return false;
    }
    case 'Q':
      push_storage();
      return false;
    case 'R':
      reduce();
      return false;
    case 'u':
      set_items(pop_to_mark());
      return false;
    case 's': {
      Value value = pop();
      Value key = pop();
      set_items({std::move(key), std::move(value)});
      return false;
    }
    default:
      check(step_number(operation) || step_memory(operation),
            "{}: its pickle program has operation 0x{:02x}, which no "
            "dict of tensors needs",
            place_, operation);
      return false;
  }
}

bool Machine::step_number(Operation operation) {
  switch (operation) {
    case 'N':
      stack_.emplace_back(Nothing{});
      return true;
    case 0x88:
    case 0x89:
      stack_.emplace_back(operation == 0x88);
      return true;
    case 'K':
      stack_.emplace_back(static_cast<int64_t>(code_.number(1)));
      return true;
    case 'M':
      stack_.emplace_back(static_cast<int64_t>(code_.number(2)));
      return true;
    case 'J':
      stack_.emplace_back(int64_t{static_cast<int32_t>(code_.number(4))});
      return true;
    case 0x8a:
      stack_.emplace_back(long_number());
      return true;
    default:
      return false;
  }
}

bool Machine::step_memory(Operation operation) {
  switch (operation) {
    case 'q':
      store(code_.number(1));
      return true;
    case 'r':
      store(code_.number(4));
      return true;
    case 'h':
      load(code_.number(1));
      return true;
    case 'j':
      load(code_.number(4));
      return true;
    default:
      return false;
  }
}

std::string Machine::line() {
  constexpr size_t kMaxLine = 100;
  std::string text;
  for (std::string_view next = code_.text(1); next != "\n"; next = code_.text(1)) {
    text += next;
    check(text.size() <= kMaxLine, "{}: damaged: its pickle program has a name longer than {}", place_,
          kMaxLine);
  }
  return text;
}

/// A number of any length in two's complement.
int64_t Machine::long_number() {
  const uint64_t size = code_.number(1);
  if (size == 0) return 0;
  check(size <= sizeof(int64_t), "{}: its pickle program has a number of {} bytes", place_, size);
  const auto unused = static_cast<int>(64 - 8 * size);
  return static_cast<int64_t>(code_.number(static_cast<size_t>(size)) << unused) >> unused;
}

void Machine::store(uint64_t slot) {
  check(!stack_.empty(), "{}: damaged: its pickle program takes what is not there", place_);
  memory_[slot] = stack_.back();
}

void Machine::load(uint64_t slot) {
  const auto found = memory_.find(slot);
  check(found != memory_.end(), "{}: damaged: its pickle program takes what is not there", place_);
  stack_.push_back(found->second);
}

template <class T>
const T& Machine::argument(const Tuple& tuple, size_t i, const char* expected) const {
  const T* found = i < tuple.items.size() ? std::get_if<T>(&tuple.items[i]) : nullptr;
  check(found != nullptr, "{}: damaged: a tensor without {}", place_, expected);
  return *found;
}

/// The reference to a record: ('storage', type, record, device, elements).
void Machine::push_storage() {
  const auto tuple = pop_as<std::shared_ptr<const Tuple>>("the description of a storage");
  const std::string& type = argument<Global>(*tuple, 1, "a type").name;
  constexpr std::string_view kModule = "torch ";
  check(argument<std::string>(*tuple, 0, "a storage") == "storage" && type.starts_with(kModule),
        "{}: damaged: a storage of type {}", place_, shown(type));
  const auto& record = argument<std::string>(*tuple, 2, "a record");
  stack_.emplace_back(std::make_shared<const Storage>(Storage{type.substr(kModule.size()), record}));
}

std::vector<int64_t> Machine::sizes(const Value& value) const {
  constexpr size_t kMaxRank = 8;
  const auto* tuple = std::get_if<std::shared_ptr<const Tuple>>(&value);
  check(tuple != nullptr && (*tuple)->items.size() <= kMaxRank, "{}: damaged: a tensor without sizes",
        place_);
  std::vector<int64_t> result;
  for (size_t i = 0; i < (*tuple)->items.size(); ++i)
    result.push_back(argument<int64_t>(**tuple, i, "sizes"));
  return result;
}

/// (storage, offset, sizes, strides, requires_grad, hooks)
PickledTensor Machine::tensor(const Tuple& arguments) const {
  const auto& storage = argument<std::shared_ptr<const Storage>>(arguments, 0, "a storage");
  check(arguments.items.size() >= 4, "{}: damaged: a tensor without sizes", place_);
  return {storage->type, storage->record, argument<int64_t>(arguments, 1, "an offset"),
          sizes(arguments.items[2]), sizes(arguments.items[3])};
}

void Machine::reduce() {
  const auto arguments = pop_as<std::shared_ptr<const Tuple>>("arguments");
  const std::string name = pop_as<Global>("a name to call").name;
  if (name == "torch._utils _rebuild_tensor_v2") {
    stack_.emplace_back(std::make_shared<const PickledTensor>(tensor(*arguments)));
  } else if (name == "torch._utils _rebuild_parameter") {
    stack_.emplace_back(argument<std::shared_ptr<const PickledTensor>>(*arguments, 0, "numbers"));
  } else if (name == "collections OrderedDict") {
    check(arguments->items.empty(), "{}: its pickle program has a filled OrderedDict", place_);
    stack_.emplace_back(std::make_shared<std::map<std::string, PickledTensor>>());
  } else {
    fail("{}: its pickle program calls '{}', which no dict of tensors needs", place_, shown(name));
  }
}

void Machine::set_items(const std::vector<Value>& items) {
  const auto table = pop_as<TablePointer>("a dict");
  check(items.size() % 2 == 0, "{}: damaged: a dict with a key without value", place_);
  for (size_t i = 0; i < items.size(); i += 2) {
    const auto* key = std::get_if<std::string>(&items[i]);
    check(key != nullptr, "{}: a key is not a string, expected a dict of tensors", place_);
    const auto* value = std::get_if<std::shared_ptr<const PickledTensor>>(&items[i + 1]);
    check(value != nullptr, "{}: '{}' is a {}, expected a tensor", place_, shown(*key),
          kind_of(items[i + 1]));
    check(table->emplace(*key, **value).second, "{}: '{}' is there twice", place_, shown(*key));
  }
  stack_.emplace_back(table);
}

}  // namespace

std::map<std::string, PickledTensor> run_pickle(std::string_view program, const std::string& place) {
  const Value result = Machine(program, place).run();
  const auto* table = std::get_if<TablePointer>(&result);
  check(table != nullptr, "{}: holds a {}, expected a dict of tensors", place, kind_of(result));
  return **table;
}

}  // namespace spq::data
