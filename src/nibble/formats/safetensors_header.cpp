#include "nibble/formats/safetensors_header.h"

#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/json.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr std::size_t kMaxTensorDimensions = 64;  // as many as NumPy knows

/// Takes the JSON parser's events. Anything at a place where the format does not have it is an
/// Error at once, so nothing nests deeper than an array in an object in the root.
class HeaderEvents {
 public:
  HeaderEvents(SafetensorsHeader& header, const std::string& origin)
      : header_(header), origin_(origin) {}

  bool start_object(std::size_t) {
    if (place_ == Place::kStart) {
      place_ = Place::kRoot;
    } else if (place_ == Place::kRoot && at_metadata()) {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kRoot) {
      place_ = Place::kTensor;
      header_.tensors.push_back({.name = root_key_});
      seen_ = 0;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::kTensor && seen_ != (kDType | kShape | kOffsets)) {
      refuse("needs \"dtype\", \"shape\" and \"data_offsets\"");
    }
    place_ = Place::kRoot;
    return true;
  }

  bool key(std::string& text) {
    if (place_ == Place::kTensor) {
      field_ = text == "dtype"          ? kDType
               : text == "shape"        ? kShape
               : text == "data_offsets" ? kOffsets
                                        : kNone;
      if (field_ == kNone) refuse(fmt::format("has the unknown field {}", quoted_name(text)));
      if ((seen_ & field_) != 0) refuse(fmt::format("has {} twice", quoted_name(text)));
      seen_ |= field_;
    } else if (place_ == Place::kMetadata) {
      metadata_key_ = text;
    } else {
      root_key_ = text;
    }
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ != Place::kTensor || field_ == kDType) unexpected("a list");
    place_ = Place::kList;
    offsets_ = 0;
    return true;
  }

  bool end_array() {
    if (field_ == kOffsets && offsets_ != 2) refuse("\"data_offsets\" must be two numbers");
    place_ = Place::kTensor;
    return true;
  }

  bool string(std::string& text) {
    if (place_ == Place::kMetadata) {
      header_.metadata.insert_or_assign(metadata_key_, text);
    } else if (place_ == Place::kTensor && field_ == kDType) {
      tensor().dtype = text;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool number_unsigned(std::uint64_t value) {
    if (place_ != Place::kList) unexpected("a number");
    if (value > INT64_MAX) refuse(fmt::format("the number {} is too large", value));
    if (field_ == kShape) {
      if (tensor().shape.size() == kMaxTensorDimensions) {
        refuse(fmt::format("has more than {} dimensions", kMaxTensorDimensions));
      }
      tensor().shape.push_back(static_cast<std::int64_t>(value));
    } else {
      if (offsets_ == 0) tensor().begin = value;
      if (offsets_ == 1) tensor().end = value;
      ++offsets_;
    }
    return true;
  }

  bool null() {
    if (place_ != Place::kRoot || !at_metadata()) unexpected("null");
    return true;
  }
  bool boolean(bool) { return unexpected("true or false"); }
  bool number_integer(std::int64_t) { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) { return unexpected("a broken number"); }
  bool binary(Json::binary_t&) { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) {
    fail("{}: the header is not valid JSON (at byte {} of it)", origin_, position);
  }

 private:
  enum class Place { kStart, kRoot, kMetadata, kTensor, kList };
  enum Field : unsigned { kNone = 0, kDType = 1, kShape = 2, kOffsets = 4 };

  bool at_metadata() const { return root_key_ == "__metadata__"; }
  SafetensorsHeader::Tensor& tensor() { return header_.tensors.back(); }

  [[noreturn]] void refuse(std::string_view what) const {
    if (place_ == Place::kStart) fail("{}: the header {}", origin_, what);
    fail("{}: tensor {}: {}", origin_, quoted_name(root_key_), what);
  }
  [[noreturn]] bool unexpected(std::string_view found) const {
    if (place_ == Place::kStart) fail("{}: the header is {}, not an object", origin_, found);
    if (at_metadata()) fail("{}: \"__metadata__\" must be strings by name", origin_);
    refuse(fmt::format("the header has {} where it does not belong", found));
  }

  SafetensorsHeader& header_;
  const std::string& origin_;
  Place place_ = Place::kStart;
  std::string root_key_;
  std::string metadata_key_;
  unsigned field_ = kNone;
  unsigned seen_ = 0;
  int offsets_ = 0;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& origin) {
  SafetensorsHeader header;
  HeaderEvents events(header, origin);
  Json::sax_parse(text, &events);
  return header;
}

}  // namespace nibble
