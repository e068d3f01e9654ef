#include "nibble/models/foreign/gptq_layer.h"

#include <algorithm>
#include <utility>

#include "nibble/core/log.h"

namespace nibble::foreign {
namespace {

using Zeros = IntegerMatrix::Zeros;

/// Where they may differ, the tensors say what came of it.
GptqScheme scheme_of(const GptqScheme& scheme, const LinearSpec& linear, const TensorView& codes,
                     const TensorView& scales) {
  if (!scheme.per_module) return scheme;
  GptqScheme of = scheme;
  const std::int64_t bits = codes.shape[0] * 32 / std::max<std::int64_t>(linear.in, 1);
  if (is_gptq_width(bits)) of.bits = static_cast<int>(bits);
  if (scales.shape[0] > 0 && linear.in % scales.shape[0] == 0) {
    of.group_size = linear.in / scales.shape[0];
  }
  return of;
}

/// Whether the zero points of the first rows are the middle, when read as `zeros` says.
bool are_middle(IntegerMatrix matrix, Zeros zeros) {
  constexpr std::int64_t kRows = 16;
  matrix.zeros = zeros;
  std::vector<std::uint8_t> found(static_cast<std::size_t>(kRows * matrix.groups));
  const std::int64_t rows = std::min<std::int64_t>(matrix.rows, 6 * kRows);  // all kinds of words
  for (std::int64_t first = 0; first < rows; first += kRows) {
    read_zeros(matrix, first, found);
    const auto count = static_cast<std::size_t>(std::min(kRows, rows - first));
    for (std::int64_t group = 0; group < matrix.groups; ++group) {
      const auto begin = found.begin() + group * kRows;
      if (std::any_of(begin, begin + static_cast<std::ptrdiff_t>(count),
                      [&](int zero) { return zero != 1 << (matrix.bits - 1); })) {
        return false;
      }
    }
  }
  return true;
}

/// How the zero points are to be read. Which way an unknown tool wrote 3 bits is seen from
/// symmetric ones, which must all come out as the middle.
Zeros zeros_of(const GptqScheme& scheme, const IntegerMatrix& matrix) {
  const bool planar_only = matrix.bits >= 5 && matrix.bits <= 7;
  if (planar_only || (scheme.planar && matrix.bits == 3)) return Zeros::kPlanes;
  if (scheme.v2 || scheme.planar) return Zeros::kGptq;
  if (matrix.bits != 3) return Zeros::kGptqV1;
  const Zeros said = scheme.by_words ? Zeros::kGptqV1Words : Zeros::kGptqV1;
  const Zeros other = scheme.by_words ? Zeros::kGptqV1 : Zeros::kGptqV1Words;
  const bool other_fits =
      scheme.symmetric && !are_middle(matrix, said) && are_middle(matrix, other);
  return other_fits ? other : said;
}

}  // namespace

bool is_gptq_width(std::int64_t bits) {
  return bits >= 2 && bits <= 8;
}

std::optional<ForeignLayer> find_gptq(ModuleParts& parts, const GptqScheme& scheme,
                                      const char* tool) {
  const LinearSpec& linear = parts.linear();
  if (!parts.find(".qweight")) return std::nullopt;
  const TensorView codes = parts.matrix(".qweight", {DType::kI32});
  const TensorView scales = parts.matrix(".scales", {DType::kF16, DType::kBF16, DType::kF32});
  const GptqScheme here = scheme_of(scheme, linear, codes, scales);
  const std::int64_t groups = count_groups(linear.in, here.group_size);
  if (linear.in * here.bits % 32 != 0 || linear.out * here.bits % 32 != 0) {
    parts.refuse("{} x {} weights of {} bits do not fill 32-bit words", linear.out, linear.in,
                 here.bits);
  }
  const std::vector<std::int64_t> code_shape = {linear.in * here.bits / 32, linear.out};
  const std::vector<std::int64_t> scale_shape = {groups, linear.out};
  if (codes.shape != code_shape) parts.refuse_shape(".qweight", codes, code_shape);
  if (scales.shape != scale_shape) parts.refuse_shape(".scales", scales, scale_shape);
  ForeignLayer layer{.format = fmt::format("{} w{}", tool, here.bits),
                     .group_size = static_cast<int>(here.group_size)};
  IntegerMatrix& matrix = layer.matrix;
  matrix.bits = here.bits;
  matrix.rows = linear.out;
  matrix.cols = linear.in;
  matrix.groups = groups;
  matrix.code_tensor = codes;
  matrix.scale_tensor = scales;
  matrix.scale_group_step = linear.out;
  matrix.zero_tensor =
      parts.shaped(".qzeros", {DType::kI32}, {groups, linear.out * here.bits / 32});
  matrix.zeros = zeros_of(here, matrix);
  matrix.codes =
      matrix.zeros == Zeros::kPlanes ? IntegerMatrix::Codes::kPlanes : IntegerMatrix::Codes::kGptq;
  if (matrix.codes == IntegerMatrix::Codes::kPlanes &&
      (linear.in % 32 != 0 || linear.out % 32 != 0)) {
    parts.refuse("{} x {} weights do not fill planes of 32", linear.out, linear.in);
  }
  matrix.group_of = parts.group_of(".g_idx", here.group_size, groups);
  if (here.symmetric && !are_middle(matrix, matrix.zeros)) {
    parts.remark(
        "\"sym\" is true, but zero points are not all the middle: they are taken as they are");
  }
  layer.tensors = parts.take_names();
  return layer;
}

}  // namespace nibble::foreign
