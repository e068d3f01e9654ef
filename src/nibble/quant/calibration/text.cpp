#include "nibble/quant/calibration/text.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <random>
#include <span>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/utf8.h"
#include "nibble/formats/npy.h"

namespace nibble {
namespace {

/// How many of the blocks each text gives, in the order in which they are taken.
std::vector<std::size_t> turns(const CalibrationOptions& options) {
  double total = 0;
  for (const CalibrationText& text : options.texts) total += text.share;
  std::vector<std::size_t> order;
  std::vector<double> taken(options.texts.size());
  for (std::int64_t n = 1; n <= options.n_samples; ++n) {
    std::size_t next = 0;
    double most = -1;
    for (std::size_t i = 0; i < taken.size(); ++i) {
      const double lag = options.texts[i].share / total * static_cast<double>(n) - taken[i];
      if (lag > most + 1e-9) {
        most = lag;
        next = i;
      }
    }
    taken[next] += 1;
    order.push_back(next);
  }
  return order;
}

/// The ids of all documents, or of as many as make the blocks that are needed, if these are the
/// first.
std::vector<std::int32_t> encode_documents(const Tokenizer& tokenizer, std::string_view lines,
                                           const std::string& origin, std::size_t needed,
                                           const CalibrationOptions& options) {
  std::vector<std::int32_t> ids;
  read_documents(lines, origin, options.render, [&](const Document& document) {
    const std::vector<std::int32_t> more =
        tokenizer.encode(document.text, {.add_special = !document.is_rendered});
    ids.insert(ids.end(), more.begin(), more.end());
    return options.seed != 0 || ids.size() < needed;
  });
  return ids;
}

/// The blocks of one text in the order in which they are used.
class Blocks {
 public:
  /// Throws Error if there are fewer than `needed`.
  Blocks(const Tokenizer& tokenizer, const CalibrationText& text, std::size_t needed,
         const CalibrationOptions& options)
      : length_(static_cast<std::size_t>(options.seq_len)) {
    read(tokenizer, text, needed, options);
    order_.resize(ids_.size() / length_);
    if (needed > order_.size()) {
      fail(
          "{}: {} tokens make {} blocks of {}, and calibration takes {} of this text (--n-samples, "
          "--seq-len)",
          text.file.string(), ids_.size(), order_.size(), length_, needed);
    }
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    if (options.seed == 0) return;
    std::mt19937_64 random(options.seed);
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random() % i]);
  }

  std::vector<std::int32_t> block(std::size_t i) const {
    const auto ids = std::span(ids_).subspan(order_[i] * length_, length_);
    return {ids.begin(), ids.end()};
  }

 private:
  void read(const Tokenizer& tokenizer, const CalibrationText& text, std::size_t needed,
            const CalibrationOptions& options) {
    const std::filesystem::path kind = text.file.extension();
    if (kind == ".npy") {
      ids_ = NpyFile(text.file).ints();
      return;
    }
    const std::string read = text.content ? "" : read_text_file(text.file);
    require_text(read, text.file.string());
    const std::string_view content = text.content ? *text.content : read;
    ids_ = kind == ".jsonl"
               ? encode_documents(tokenizer, content, text.file.string(), needed * length_, options)
               : tokenizer.encode(content);
  }

  std::size_t length_;
  std::vector<std::int32_t> ids_;
  std::vector<std::size_t> order_;
};

}  // namespace

CalibrationText parse_calibration_text(const std::string& argument) {
  const std::size_t colon = argument.rfind(':');
  if (colon == std::string::npos || colon == 0) return {argument};
  double share = 0;
  const char* end = argument.data() + argument.size();
  const auto [stop, error] = std::from_chars(argument.data() + colon + 1, end, share);
  if (stop != end || error != std::errc{}) return {argument};  // a name with a colon
  if (!(share > 0 && share < 1e6)) {
    fail("--calib {}: a share is above 0 and below a million, found {}", argument, share);
  }
  return {argument.substr(0, colon), share};
}

std::vector<std::vector<std::int32_t>> calibration_blocks(const Tokenizer& tokenizer,
                                                          const CalibrationOptions& options) {
  const std::vector<std::size_t> order = turns(options);
  std::vector<Blocks> texts;
  for (std::size_t i = 0; i < options.texts.size(); ++i) {
    const auto needed = static_cast<std::size_t>(std::count(order.begin(), order.end(), i));
    texts.emplace_back(tokenizer, options.texts[i], needed, options);
  }
  std::vector<std::size_t> used(texts.size());
  std::vector<std::vector<std::int32_t>> blocks;
  for (const std::size_t i : order) blocks.push_back(texts[i].block(used[i]++));
  return blocks;
}

}  // namespace nibble
