#include "nibble/runtime/prompt.h"

#include "nibble/core/log.h"

namespace nibble {
namespace {

/// Whether the tokenizer put BOS in front of a text that begins with BOS.
bool has_bos_twice(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids,
                   std::string_view text) {
  const auto bos = tokenizer.bos_id();
  if (!bos || ids.size() < 2 || ids[0] != *bos || ids[1] != *bos) return false;
  const std::vector<std::int32_t> bare = tokenizer.encode(text, {.add_special = false});
  return bare.size() < ids.size() && bare[0] == *bos;
}

}  // namespace

std::vector<std::int32_t> encode_prompt(const Model& model, const Tokenizer& tokenizer,
                                        std::string_view text, bool add_special) {
  std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special = add_special});
  if (!add_special) return ids;
  if (ids.empty() && model.spec().bos) ids.push_back(*model.spec().bos);
  if (has_bos_twice(tokenizer, ids, text)) {
    warn("the prompt begins with {} itself, which is not put in front of it again",
         tokenizer.id_to_token(ids[0]));
    ids.erase(ids.begin());
  }
  return ids;
}

}  // namespace nibble
