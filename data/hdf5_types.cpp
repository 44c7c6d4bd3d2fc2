#include "data/hdf5_types.h"

#include <limits>

#include "core/error.h"
#include "data/file_bytes.h"

namespace spq::data {
namespace {

constexpr uint64_t kMaxRank = 8;

// Class numbers of the format.
constexpr uint64_t kIntegerClass = 0;
constexpr uint64_t kFloatClass = 1;
constexpr uint64_t kTextClass = 3;
constexpr uint64_t kVariableClass = 9;

Hdf5Type parse_integer(Hdf5Type type, uint64_t flags, FieldReader& fields) {
  type.is_big_endian = (flags & 1) != 0;
  type.is_signed = (flags & 8) != 0;
  const uint64_t bit_offset = fields.number(2);
  const uint64_t precision = fields.number(2);
  const bool fills_its_bytes = bit_offset == 0 && precision == 8 * type.size && (flags & ~uint64_t{9}) == 0;
  if (fills_its_bytes && type.size >= 1 && type.size <= 8) type.kind = Hdf5Type::Kind::kInteger;
  return type;
}

Hdf5Type parse_float(Hdf5Type type, uint64_t flags, FieldReader& fields) {
  // Little-endian IEEE: sign in bit 31, implied leading one, 32 bits from bit 0, exponent of 8 bits from bit
  // 23, fraction of 23 bits from bit 0, bias 127.
  constexpr uint64_t kFlags = 0x1f20;
  constexpr std::string_view kProperties("\0\0\x20\0\x17\x08\0\x17\x7f\0\0\0", 12);
  const bool is_ieee = fields.text(kProperties.size()) == kProperties && flags == kFlags;
  if (is_ieee && type.size == sizeof(float)) type.kind = Hdf5Type::Kind::kFloat32;
  return type;
}

}  // namespace

Hdf5Type parse_type(std::string_view message, const std::string& place) {
  FieldReader fields(message, place);
  const uint64_t kind_and_version = fields.number(1);
  const uint64_t flags = fields.number(3);
  Hdf5Type type;
  type.size = fields.number(4);
  const uint64_t version = kind_and_version >> 4;
  if (version < 1 || version > 3) return type;
  switch (kind_and_version & 15) {
    case kIntegerClass:
      return parse_integer(type, flags, fields);
    case kFloatClass:
      return parse_float(type, flags, fields);
    case kTextClass:
      type.kind = Hdf5Type::Kind::kFixedText;
      type.padded_by_space = (flags & 15) == 2;
      break;
    case kVariableClass:
      // A sequence of other values has another number here.
      if ((flags & 15) == 1 && type.size == 16) type.kind = Hdf5Type::Kind::kVariableText;
      break;
    default:
      break;
  }
  return type;
}

std::vector<int64_t> parse_dataspace(std::string_view message, const std::string& place) {
  constexpr uint64_t kNull = 2;  // a dataspace without values
  FieldReader fields(message, place);
  const uint64_t version = fields.number(1);
  check(version == 1 || version == 2, "{}: damaged: dataspace version {}", place, version);
  const uint64_t rank = fields.number(1);
  check(rank <= kMaxRank, "{}: damaged: {} dimensions", place, rank);
  fields.skip(1);
  const uint64_t kind = fields.number(1);
  check(version == 1 || kind != kNull, "{}: holds no value", place);
  if (version == 1) fields.skip(4);
  std::vector<int64_t> shape;
  for (uint64_t i = 0; i < rank; ++i) {
    const uint64_t size = fields.number(8);
    check(size <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), "{}: damaged: dimension of {}",
          place, size);
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

}  // namespace spq::data
