// pytorch_model.bin: files written by torch (fixtures/make_torch_bin.py), pickles that would run
// code, and damaged files, which give an error or a right answer.
#include "nibble/formats/torch_bin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "formats/file_bytes.h"
#include "nibble/core/bfloat16.h"
#include "nibble/formats/pickle.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

const fs::path kTorchFixtures = testing::test_file("formats/fixtures/torch_bin");

template <typename T, typename Widen>
std::vector<double> widened(const TensorView& view, Widen widen) {
  std::vector<double> out(static_cast<std::size_t>(view.elements()));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T element;
    std::memcpy(&element, view.data + i * sizeof element, sizeof element);
    out[i] = static_cast<double>(widen(element));
  }
  return out;
}

std::vector<double> numbers(const TensorView& view) {
  const auto same = [](auto x) { return x; };
  switch (view.dtype) {
    case DType::kF32:
      return widened<float>(view, same);
    case DType::kF64:
      return widened<double>(view, same);
    case DType::kF16:
      return widened<Float16>(view, [](Float16 x) { return to_float(x); });
    case DType::kBF16:
      return widened<BFloat16>(view, [](BFloat16 x) { return to_float(x); });
    case DType::kI16:
      return widened<std::int16_t>(view, same);
    case DType::kI32:
      return widened<std::int32_t>(view, same);
    case DType::kI64:
      return widened<std::int64_t>(view, same);
    case DType::kI8:
      return widened<std::int8_t>(view, same);
    default:
      return widened<std::uint8_t>(view, same);
  }
}

std::vector<double> count_to(std::size_t count) {
  std::vector<double> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<double>(i));
  return out;
}

bool lies_in(const TorchBinFile& file, const TensorView& view) {
  const auto bytes = file.file().bytes();
  return view.data >= bytes.data() && view.data + view.bytes <= bytes.data() + bytes.size();
}

class MixedDtypes : public ::testing::TestWithParam<const char*> {};

TEST_P(MixedDtypes, ReadsEveryTensor) {
  const TorchBinFile file(kTorchFixtures / GetParam());
  const std::pair<const char*, DType> dtypes[] = {
      {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16},
      {"f64", DType::kF64}, {"i8", DType::kI8},   {"u8", DType::kU8},
      {"i16", DType::kI16}, {"i32", DType::kI32}, {"i64", DType::kI64}};
  for (const auto& [name, dtype] : dtypes) {
    const TensorView& view = file.get(name);
    EXPECT_EQ(view.dtype, dtype) << name;
    EXPECT_THAT(view.shape, ElementsAre(3, 5)) << name;
    EXPECT_EQ(numbers(view), count_to(15)) << name;
    EXPECT_TRUE(lies_in(file, view)) << name << " is mapped, not copied";
  }
  EXPECT_EQ(file.get("bool").dtype, DType::kBool);
  EXPECT_THAT(numbers(file.get("bool")), ElementsAre(0, 1, 0, 1, 0, 1));
  EXPECT_EQ(numbers(file.get("parameter")), count_to(6));
  EXPECT_TRUE(file.get("scalar").shape.empty());
  EXPECT_THAT(numbers(file.get("scalar")), ElementsAre(7));
  EXPECT_THAT(file.get("empty").shape, ElementsAre(0, 4));
  EXPECT_EQ(numbers(file.get("a name with \u00e4")), count_to(2));
}

TEST_P(MixedDtypes, SharedAndStridedTensors) {
  const TorchBinFile file(kTorchFixtures / GetParam());
  const TensorView& tied = file.get("tied");
  const TensorView& rows = file.get("rows");
  EXPECT_EQ(rows.data, tied.data + 6 * sizeof(float));
  EXPECT_THAT(rows.shape, ElementsAre(2, 6));
  EXPECT_EQ(numbers(rows).front(), 6);
  EXPECT_EQ(numbers(rows).back(), 17);
  EXPECT_THAT(file.get("transposed").shape, ElementsAre(4, 6));
  EXPECT_FALSE(lies_in(file, file.get("transposed")));
  std::vector<double> expected;
  for (int row = 0; row < 4; ++row) {
    for (int col = 0; col < 6; ++col) expected.push_back(4 * col + row);
  }
  EXPECT_EQ(numbers(file.get("transposed")), expected);
  EXPECT_THAT(numbers(file.get("columns")), ElementsAre(1, 2, 3, 7, 8, 9, 13, 14, 15, 19, 20, 21));
  EXPECT_THAT(numbers(file.get("expanded")), ElementsAre(5));
}

INSTANTIATE_TEST_SUITE_P(Files, MixedDtypes,
                         ::testing::Values("mixed.bin", "protocol4.bin", "legacy.bin"),
                         [](const auto& name) {
                           return std::string(name.param, std::strlen(name.param) - 4);
                         });

TEST(TorchBin, AnyPrefixAndZip64) {
  for (const char* name : {"small.bin", "prefix.bin", "zip64.bin"}) {
    const TorchBinFile file(kTorchFixtures / name);
    EXPECT_EQ(numbers(file.get("w")), count_to(15)) << name;
    EXPECT_EQ(numbers(file.get("b")), count_to(5)) << name;
    EXPECT_EQ(file.find("none"), nullptr);
    EXPECT_ERROR(file.get("none"), HasSubstr("has no tensor \"none\""));
  }
}

TEST(TorchBin, NothingOfAPickleIsRun) {
  for (const char* name : {"evil.bin", "evil_state.bin", "evil_legacy.bin", "evil_plain.bin"}) {
    EXPECT_ERROR(TorchBinFile(kTorchFixtures / name),
                 AllOf(HasSubstr(name), HasSubstr("the global \"posix.system\""),
                       HasSubstr("nothing of it was run")));
    EXPECT_FALSE(fs::exists("nibble_was_here"));
  }
}

TEST(TorchBin, SaysWhatIsWrongWithAFile) {
  const std::pair<const char*, const char*> cases[] = {
      {"deflated.bin", "is compressed, which PyTorch never does"},
      {"big_endian.bin", "numbers are big-endian"},
      {"short_storage.bin", "tensor \"w\": a storage of 15 elements, the file has 14"},
      {"no_pickle.bin", "a zip archive without data.pkl"},
      {"list.bin", "holds no dictionary of tensors"}};
  for (const auto& [name, message] : cases) {
    EXPECT_ERROR(TorchBinFile(kTorchFixtures / name), AllOf(HasSubstr(name), HasSubstr(message)));
  }
  const TemporaryFolder folder;
  write_file(folder / "x.bin", "");
  EXPECT_ERROR(TorchBinFile(folder / "x.bin"), HasSubstr("neither a zip archive nor a pickle"));
  write_file(folder / "x.bin", "\x80\x02K\x01.");
  EXPECT_ERROR(TorchBinFile(folder / "x.bin"), HasSubstr("the magic number is another"));
}

// Pickles written by hand: ('storage', torch.FloatStorage, '0', 'cpu', elements) and what follows.
class HandMadePickle : public ::testing::Test {
 protected:
  static std::string text(const std::string& value) {
    return "X" + testing::le(static_cast<std::uint32_t>(value.size())) + value;
  }
  static std::string integer(std::int32_t value) { return "J" + testing::le(value); }
  static std::string pair(std::int32_t a, std::int32_t b) {
    return integer(a) + integer(b) + "\x86";
  }
  static std::string tensor(const std::string& elements, const std::string& offset,
                            const std::string& shape, const std::string& strides) {
    return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" +
           text("0") + text("cpu") + elements + "tQ" + offset + shape + strides + "\x89}tR";
  }
  static std::string state(const std::string& elements, const std::string& offset,
                           const std::string& shape, const std::string& strides) {
    return "\x80\x02}" + text("w") + tensor(elements, offset, shape, strides) + "s.";
  }
  /// Opens a file of the older format with this state dict and a storage of four floats.
  void open(const std::string& state_dict) {
    const std::string magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    const std::string head = magic + "\x80\x02M\xe9\x03.\x80\x02}.";
    const std::string keys = "\x80\x02]" + text("0") + "a.";
    const std::string data = testing::le(std::int64_t{4}) + std::string(16, '\0');
    write_file(folder_ / "x.bin", head + state_dict + keys + data);
    const TorchBinFile file(folder_ / "x.bin");
    for (const TensorEntry& entry : file.entries()) {
      testing::touch(entry.view.data, entry.view.bytes);
    }
  }
  TemporaryFolder folder_;
};

TEST_F(HandMadePickle, TensorsLieInTheirStorage) {
  const std::string four = integer(4);
  const std::string none = integer(0);
  EXPECT_NO_THROW(open(state(four, none, pair(2, 2), pair(2, 1))));
  EXPECT_NO_THROW(open(state(four, none, pair(2, 2), pair(1, 2))));
  EXPECT_NO_THROW(open(state(four, none, pair(1, 2), pair(INT32_MAX, 2))));
  const std::string bad[] = {
      state(integer(5), none, pair(2, 2), pair(2, 1)),  // more than there is
      state(four, integer(1), pair(2, 2), pair(2, 1)),
      state(four, integer(5), pair(0, 2), pair(2, 1)),
      state(four, none, pair(2, 2), pair(3, 1)),
      state(four, none, pair(2, 2), pair(INT32_MAX, INT32_MAX)),
      state(four, none, pair(INT32_MAX, INT32_MAX), pair(0, 0)),  // 2^64 bytes out of four
      state(four, none, pair(3, 2), pair(0, 1)),
      state(four, integer(-1), pair(2, 2), pair(2, 1)),
      state(four, none, pair(-2, 2), pair(2, 1)),
      state(four, none, pair(2, 2), integer(1) + "\x85"),
      state(text("4"), none, pair(2, 2), pair(2, 1)),
      state(four, none, none, pair(2, 1)),
  };
  for (const std::string& pickle : bad) {
    EXPECT_ERROR(open(pickle), HasSubstr("x.bin: tensor \"w\": "));
  }
}

TEST_F(HandMadePickle, MachineIsBounded) {
  const auto fails = [&](const std::string& pickle, const char* message) {
    EXPECT_ERROR(open(pickle), AllOf(HasSubstr("x.bin: the pickle "), HasSubstr(message)));
  };
  fails("\x80\x02.", "takes a value from an empty stack");
  fails("\x80\x06N.", "protocol 6");
  fails("\x80\x02h\x05.", "asks for value 5 of the memo");
  fails("\x80\x02u.", "has no mark");
  fails("\x80\x02}(K\x01u.", "adds items to what takes none");
  fails("\x80\x02NK\x01s.", "looks at an empty stack");
  fails("\x80\x02NK\x01K\x02s.", "adds items to what takes none");
  fails(
      "\x80\x02(K\x01"
      "d.",
      "a key without a value");
  fails("\x80\x02K\x01)R.", "calls what is not a global");
  fails(
      "\x80\x02"
      "ccollections\nOrderedDict\nK\x01R.",
      "calls with what is not a tuple");
  fails("\x80\x02X\xff\xff\xff\xff.", "cut off");
  fails("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "cut off");
  fails(
      "\x80\x02"
      "cos\nsystem\n.",
      "\"os.system\"");
  fails(
      "\x80\x04\x8c\x08"
      "builtins\x8c\x04"
      "eval\x93.",
      "\"builtins.eval\"");
  fails(
      "\x80\x02"
      "ios\nsystem\n.",
      "\"os.system\"");
  fails("\x80\x02I1\n.", "opcode 0x49, which torch.save does not write");
  fails("\x80\x02" + std::string((1 << 22) + 2, '(') + ".", "the stack is too deep");
  fails("\x80\x02" + std::string((1 << 22) + 2, 'N') + ".", "more than 4194304 values");
  std::string memo = "\x80\x02N";
  for (std::uint32_t key = 0; key <= 1u << 22; ++key) memo += "r" + testing::le(key);
  fails(memo + ".", "more than 4194304 values in the memo");
}

TEST_F(HandMadePickle, ContainersInThemselves) {
  // A list that holds itself, and a value of 2^30 parts by way of the memo: neither is walked.
  const std::string w = text("w") + tensor(integer(4), integer(0), pair(2, 2), pair(2, 1)) + "s.";
  EXPECT_NO_THROW(open("\x80\x02}" + text("a") +
                       "]q\x01h\x01"
                       "as" +
                       w));
  std::string nested = "\x80\x02}" + text("a") + "]q\x01";
  for (int i = 0; i < 30; ++i) nested += "2\x86q\x01";
  EXPECT_NO_THROW(open(nested + "s" + w));
}

TEST(TorchBin, DamagedFilesGiveAnErrorOrAnAnswer) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.bin";
  for (const char* name : {"small.bin", "legacy.bin", "mixed.bin"}) {
    int opened = 0;
    testing::for_every_damage(read_file(kTorchFixtures / name), 300,
                              [&](const std::string& damaged) {
                                write_file(path, damaged);
                                try {
                                  const TorchBinFile file(path);
                                  std::size_t bytes = 0;
                                  for (const TensorEntry& entry : file.entries()) {
                                    testing::touch(entry.view.data, entry.view.bytes);
                                    bytes += entry.view.bytes;
                                  }
                                  EXPECT_LE(bytes, file.entries().size() * damaged.size());
                                  ++opened;
                                } catch (const Error&) {
                                }
                              });
    EXPECT_GT(opened, 0) << "a flip in the data goes unnoticed, as it must";
  }
}

class TorchBinModelTest : public ::testing::Test {
 protected:
  void write_index(const std::string& weight_map) {
    write_file(folder_ / "pytorch_model.bin.index.json", "{\"weight_map\":" + weight_map + "}");
  }
  TemporaryFolder folder_;
};

TEST_F(TorchBinModelTest, ShardsAndSingleFiles) {
  EXPECT_FALSE(has_model_files<TorchBinFile>(folder_.path()));
  EXPECT_ERROR(TorchBinModel(folder_.path()),
               HasSubstr("looked for pytorch_model.bin and pytorch_model.bin.index.json"));
  fs::copy(kTorchFixtures / "small.bin", folder_ / "one.bin");
  fs::copy(kTorchFixtures / "mixed.bin", folder_ / "two.bin");
  write_index(R"({"w":"one.bin","f32":"two.bin"})");
  {
    const TorchBinModel model(folder_.path());
    EXPECT_THAT(model.names(), ElementsAre("w", "f32"));
    EXPECT_EQ(numbers(model.get("w")), count_to(15));
    EXPECT_EQ(model.find("b"), nullptr) << "the index decides";
    const TensorView& w = model.get("w");
    const std::span bytes(w.data, w.bytes);
    ASSERT_NE(model.file_of(bytes), nullptr);
    model.file_of(bytes)->drop(bytes);
    EXPECT_EQ(numbers(w), count_to(15));
  }
  write_index(R"({"w":"two.bin"})");
  EXPECT_ERROR(TorchBinModel(folder_.path()), HasSubstr("tensor \"w\" is not in \"two.bin\""));
  fs::copy(kTorchFixtures / "small.bin", folder_ / "pytorch_model.bin");
  EXPECT_TRUE(TorchBinModel(folder_.path()).contains("b"));
}

}  // namespace
}  // namespace nibble
