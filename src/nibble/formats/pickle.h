// Python's pickles as data. Nothing is imported, called or built: a global is a name, which must be
// one that the caller allows, and a call is a value that holds the name and the arguments. The
// opcodes: Lib/pickletools.py of CPython; those of the binary protocols 2 to 5 are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct PickleValue {
  enum class Kind : std::uint8_t {
    kNone,
    kBool,        // integer
    kInt,         // integer
    kLongInt,     // text: two's complement, little-endian, more than 8 bytes
    kFloat,       // not kept: no tensor has one
    kString,      // text, UTF-8
    kBytes,       // text
    kTuple,       // items
    kList,        // items
    kSet,         // items
    kDict,        // items: key, value, key, value ...
    kGlobal,      // text: "module.name"
    kCall,        // text: the global that would be called; callable's arguments are `arguments`;
                  // items as in kDict, those set on what the call would give
    kPersistent,  // arguments: what the pickle's writer is to be asked for
  };
  using Id = std::uint32_t;  // a value's place in Pickle::values

  Kind kind = Kind::kNone;
  std::int64_t integer = 0;
  std::string_view text;  // in the bytes that were read
  Id arguments = 0;
  std::vector<Id> items;
};

struct Pickle {
  std::vector<PickleValue> values;
  PickleValue::Id root = 0;
  std::size_t bytes = 0;  // that it took

  const PickleValue& operator[](PickleValue::Id id) const { return values[id]; }
};

/// Reads one pickle from the beginning of `bytes`, which must outlive what it gives. `allowed` are
/// the globals ("collections.OrderedDict") that may stand in it, for good; any other is an Error
/// that names it. `origin` opens every message. Memory is bounded by the length of the pickle.
Pickle read_pickle(std::span<const std::byte> bytes, const std::string& origin,
                   std::span<const std::string_view> allowed);

}  // namespace nibble
