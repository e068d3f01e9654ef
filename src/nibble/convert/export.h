// Writes a checkpoint of any kind in a form that other engines read. Rows are converted on all
// threads and written as they come: peak memory is some rows, of AWQ one layer. Output appears
// whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/checkpoint_writer.h"
#include "nibble/ops/compute.h"

namespace nibble {

struct ExportReport {
  std::vector<WrittenTensor> tensors;
  std::vector<std::string> notes;  // what is otherwise than asked or than in the source
  std::int64_t bytes_out = 0;      // of the file with the tensors
  double seconds = 0;
};

/// A Hugging Face folder of dense weights, rounded to `dtype` (kBF16 or kF16), with the tokenizer's
/// files. `replace` allows `out` to exist, here and below. Throws Error, Interrupted.
ExportReport export_hugging_face(const Checkpoint& checkpoint, Compute& compute, DType dtype,
                                 const std::filesystem::path& out, bool replace);

/// A folder as AutoAWQ writes it ("gemm"): layers of 4 bits with their integers, all else as
/// float16. Throws Error for a model that has no layer of 4 bits, or one of 3 or 8.
ExportReport export_awq(const Checkpoint& checkpoint, Compute& compute,
                        const std::filesystem::path& out, bool replace);

/// A GGUF file. `type` of the matrices: kBF16, kF16, kQ8_0, kQ4_0, kQ4_1 or kQ4_K; none: layers of
/// 3 and 4 bits become Q4_1 and those of 8 bits Q8_0, where that keeps their integers, all else
/// BF16. Throws Error for architectures and tokenizers that GGUF has no name for.
ExportReport export_gguf(const Checkpoint& checkpoint, Compute& compute, std::optional<DType> type,
                         const std::filesystem::path& out, bool replace);

}  // namespace nibble
