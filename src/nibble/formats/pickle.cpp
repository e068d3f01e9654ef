#include "nibble/formats/pickle.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

using Kind = PickleValue::Kind;
using Id = PickleValue::Id;

constexpr std::size_t kMaxValues =
    1u << 22;  // also on the stack and in the memo; a tensor takes about 30
constexpr int kLastProtocol = 5;

/// The machine that a pickle is a program for: a stack of values, marks in it, and a memo.
class PickleReader {
 public:
  PickleReader(std::span<const std::byte> bytes, const std::string& origin,
               std::span<const std::string_view> allowed)
      : bytes_(bytes), origin_(origin), allowed_(allowed) {}

  Pickle read() {
    while (step()) {
    }
    result_.root = pop();
    result_.bytes = at_;
    return std::move(result_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: the pickle at byte {}: {}", origin_, opcode_at_,
         fmt::format(format, std::forward<Args>(args)...));
  }

  // Bytes.

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) {
      refuse("cut off: {} bytes needed, {} left", count, bytes_.size() - at_);
    }
    const auto* text = reinterpret_cast<const char*>(bytes_.data()) + at_;
    at_ += static_cast<std::size_t>(count);
    return {text, static_cast<std::size_t>(count)};
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view line() {
    const char* start = reinterpret_cast<const char*>(bytes_.data()) + at_;
    const void* end = std::memchr(start, '\n', bytes_.size() - at_);
    if (end == nullptr) refuse("cut off in a name");
    const std::string_view text =
        take(static_cast<std::uint64_t>(static_cast<const char*>(end) - start));
    take(1);
    return text;
  }

  // Values, the stack and its marks.

  Id add(PickleValue value) {
    if (result_.values.size() >= kMaxValues) refuse("more than {} values", kMaxValues);
    result_.values.push_back(std::move(value));
    return static_cast<Id>(result_.values.size() - 1);
  }
  void push(PickleValue value) { stack_.push_back(add(std::move(value))); }
  void push_text(Kind kind, std::string_view text) { push({.kind = kind, .text = text}); }
  void push_int(std::int64_t value) { push({.kind = Kind::kInt, .integer = value}); }
  PickleValue& value(Id id) { return result_.values[id]; }

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Id pop() {
    if (stack_.size() <= floor()) refuse("takes a value from an empty stack");
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Id top() const {
    if (stack_.size() <= floor()) refuse("looks at an empty stack");
    return stack_.back();
  }
  /// Everything above the last mark, which goes too.
  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) refuse("has no mark where one is needed");
    std::vector<Id> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                          stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  std::vector<Id> pop_several(std::size_t count) {
    if (stack_.size() - floor() < count) refuse("takes a value from an empty stack");
    std::vector<Id> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  void push_items(Kind kind, std::vector<Id> items) {
    push({.kind = kind, .items = std::move(items)});
  }

  void remember(std::uint64_t key) {
    if (memo_.size() >= kMaxValues) refuse("more than {} values in the memo", kMaxValues);
    memo_[key] = top();
  }
  void recall(std::uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse("asks for value {} of the memo, which is not there", key);
    stack_.push_back(found->second);
  }

  // Opcodes that do more than push.

  void push_long(std::uint64_t length) {
    const std::string_view text = take(length);
    if (length > sizeof(std::int64_t)) return push_text(Kind::kLongInt, text);
    std::uint64_t bits = 0;
    std::memcpy(&bits, text.data(), text.size());
    const bool negative = length > 0 && (static_cast<unsigned char>(text.back()) & 0x80u) != 0;
    if (negative && length < sizeof bits) bits |= ~std::uint64_t{0} << (8 * length);
    push_int(static_cast<std::int64_t>(bits));
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::string global = fmt::format("{}.{}", module, name);
    const auto known = std::find(allowed_.begin(), allowed_.end(), global);
    if (known == allowed_.end()) {
      fail(
          "{}: the pickle asks for the global {}, which is none of a tensor's parts: refused, "
          "nothing of it was run",
          origin_, quoted_name(global));
    }
    push_text(Kind::kGlobal, *known);
  }

  void push_stack_global() {
    const std::vector<Id> names = pop_several(2);
    if (value(names[0]).kind != Kind::kString || value(names[1]).kind != Kind::kString) {
      refuse("a global's name is not a string");
    }
    push_global(value(names[0]).text, value(names[1]).text);
  }

  void push_call() {
    const std::vector<Id> parts = pop_several(2);
    if (value(parts[0]).kind != Kind::kGlobal) refuse("calls what is not a global");
    if (value(parts[1]).kind != Kind::kTuple) refuse("calls with what is not a tuple");
    push({.kind = Kind::kCall, .text = value(parts[0]).text, .arguments = parts[1]});
  }

  void add_items(const std::vector<Id>& items, bool pairs) {
    PickleValue& target = value(top());
    const bool takes = pairs ? target.kind == Kind::kDict || target.kind == Kind::kCall
                             : target.kind == Kind::kList || target.kind == Kind::kSet;
    if (!takes || (pairs && items.size() % 2 != 0)) refuse("adds items to what takes none");
    if (target.items.size() + items.size() > kMaxValues) refuse("more than {} items", kMaxValues);
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  void push_dict(std::vector<Id> items) {
    if (items.size() % 2 != 0) refuse("a dictionary has a key without a value");
    push_items(Kind::kDict, std::move(items));
  }

  void check_protocol() {
    const auto protocol = number<std::uint8_t>();
    if (protocol > kLastProtocol) {
      refuse("protocol {}, known are those up to {}", protocol, kLastProtocol);
    }
  }

  /// Does one opcode. False: it was STOP.
  bool step();
  bool step_container(char opcode);
  bool step_scalar(char opcode);

  std::span<const std::byte> bytes_;
  const std::string& origin_;
  std::span<const std::string_view> allowed_;
  std::size_t at_ = 0;
  std::size_t opcode_at_ = 0;
  Pickle result_;
  std::vector<Id> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::unordered_map<std::uint64_t, Id> memo_;
};

/// Numbers, texts and the memo. False: not one of these opcodes.
bool PickleReader::step_scalar(char opcode) {
  switch (opcode) {
    case 'N':
      push({});
      return true;
    case '\x88':
    case '\x89':
      push({.kind = Kind::kBool, .integer = opcode == '\x88' ? 1 : 0});
      return true;
    case 'J':
      push_int(number<std::int32_t>());
      return true;
    case 'K':
      push_int(number<std::uint8_t>());
      return true;
    case 'M':
      push_int(number<std::uint16_t>());
      return true;
    case '\x8a':
      push_long(number<std::uint8_t>());
      return true;
    case '\x8b':
      push_long(number<std::uint32_t>());
      return true;
    case 'G':
      take(8);
      push({.kind = Kind::kFloat});
      return true;
    case 'X':
    case 'T':  // a string of Python 2
      push_text(Kind::kString, take(number<std::uint32_t>()));
      return true;
    case '\x8c':
    case 'U':  // "
      push_text(Kind::kString, take(number<std::uint8_t>()));
      return true;
    case '\x8d':
      push_text(Kind::kString, take(number<std::uint64_t>()));
      return true;
    case 'B':
      push_text(Kind::kBytes, take(number<std::uint32_t>()));
      return true;
    case 'C':
      push_text(Kind::kBytes, take(number<std::uint8_t>()));
      return true;
    case '\x8e':
    case '\x96':  // a bytearray
      push_text(Kind::kBytes, take(number<std::uint64_t>()));
      return true;
    case 'q':
      remember(number<std::uint8_t>());
      return true;
    case 'r':
      remember(number<std::uint32_t>());
      return true;
    case '\x94':
      remember(memo_.size());
      return true;
    case 'h':
      recall(number<std::uint8_t>());
      return true;
    case 'j':
      recall(number<std::uint32_t>());
      return true;
    default:
      return false;
  }
}

/// Containers and the stack. False: not one of these opcodes.
bool PickleReader::step_container(char opcode) {
  switch (opcode) {
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case '0':
      pop();
      return true;
    case '1':
      pop_to_mark();
      return true;
    case '2':
      stack_.push_back(top());
      return true;
    case ')':
      push_items(Kind::kTuple, {});
      return true;
    case '\x85':
    case '\x86':
    case '\x87':
      push_items(Kind::kTuple, pop_several(static_cast<std::size_t>(opcode - '\x84')));
      return true;
    case 't':
      push_items(Kind::kTuple, pop_to_mark());
      return true;
    case ']':
      push_items(Kind::kList, {});
      return true;
    case 'l':
      push_items(Kind::kList, pop_to_mark());
      return true;
    case '}':
      push_items(Kind::kDict, {});
      return true;
    case 'd':
      push_dict(pop_to_mark());
      return true;
    case '\x8f':
      push_items(Kind::kSet, {});
      return true;
    case '\x91':
      push_items(Kind::kSet, pop_to_mark());
      return true;
    case 'a':
      add_items(pop_several(1), false);
      return true;
    case 'e':
    case '\x90':
      add_items(pop_to_mark(), false);
      return true;
    case 's':
      add_items(pop_several(2), true);
      return true;
    case 'u':
      add_items(pop_to_mark(), true);
      return true;
    default:
      return false;
  }
}

bool PickleReader::step() {
  opcode_at_ = at_;
  if (stack_.size() > kMaxValues || marks_.size() > kMaxValues) refuse("the stack is too deep");
  const char opcode = take(1)[0];
  if (step_scalar(opcode) || step_container(opcode)) return true;
  switch (opcode) {
    case '.':
      return false;
    case '\x80':
      check_protocol();
      return true;
    case '\x95':  // a frame: the bytes go on as they would without
      number<std::uint64_t>();
      return true;
    case 'c': {
      const std::string_view module = line();
      push_global(module, line());
      return true;
    }
    case 'i': {  // an instance of a class of Python 2: a global too
      const std::string_view module = line();
      push_global(module, line());
      refuse("an instance, where only a call may make one");
    }
    case '\x93':
      push_stack_global();
      return true;
    case 'R':
    case '\x81':
      push_call();
      return true;
    case 'b':  // the state of an object, say an OrderedDict's "_metadata": not kept
      pop();
      if (value(top()).kind != Kind::kCall) refuse("gives a state to what has none");
      return true;
    case 'Q':
      push({.kind = Kind::kPersistent, .arguments = pop()});
      return true;
    default:
      refuse("opcode 0x{:02x}, which torch.save does not write",
             static_cast<unsigned char>(opcode));
  }
}

}  // namespace

Pickle read_pickle(std::span<const std::byte> bytes, const std::string& origin,
                   std::span<const std::string_view> allowed) {
  return PickleReader(bytes, origin, allowed).read();
}

}  // namespace nibble
