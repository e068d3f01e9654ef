#include "nibble/runtime/stop_filter.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

/// What comes out of a filter in all, and whether it stopped.
struct Filtered {
  std::string text;
  bool stopped;
  bool operator==(const Filtered&) const = default;
};

void PrintTo(const Filtered& filtered, std::ostream* out) {
  *out << '"' << filtered.text << (filtered.stopped ? "\" stopped" : "\"");
}

Filtered filter(const std::vector<std::string>& stops, const std::string& text, std::size_t piece) {
  StopFilter stop_filter(stops);
  Filtered result{"", false};
  for (std::size_t at = 0; at < text.size(); at += piece) {
    result.text += stop_filter.push(text.substr(at, piece));
  }
  result.text += stop_filter.finish();
  result.stopped = stop_filter.stopped();
  return result;
}

/// The same whatever pieces the text comes in.
void expect_filtered(const std::vector<std::string>& stops, const std::string& text,
                     const Filtered& expected) {
  for (std::size_t piece = 1; piece <= text.size() + 1; ++piece) {
    EXPECT_EQ(filter(stops, text, piece), expected) << "pieces of " << piece;
  }
}

TEST(StopFilter, FindsAStopInAnyPieces) {
  expect_filtered({"\nUser:"}, "Hello.\nUser: hi", {"Hello.", true});
  expect_filtered({"END"}, "ENDless", {"", true});
  expect_filtered({"END"}, "to the END", {"to the ", true});
  expect_filtered({"END"}, "no stop here", {"no stop here", false});
}

TEST(StopFilter, GivesBackWhatOnlyBegan) {
  expect_filtered({"END"}, "EN", {"EN", false});
  expect_filtered({"END"}, "the ENtry is ENough: EEN", {"the ENtry is ENough: EEN", false});
  expect_filtered({"aab"}, "aaaab!", {"aa", true});
  expect_filtered({"abab"}, "abaabab", {"aba", true});
}

TEST(StopFilter, TheFirstOfSeveral) {
  expect_filtered({"xyz", "b"}, "aaxyzb", {"aa", true});
  expect_filtered({"b", "xyz"}, "aaxyzb", {"aa", true});
  expect_filtered({"abc", "bcd"}, "zabcd", {"z", true});
  expect_filtered({"ab", "abc"}, "zabc", {"z", true});
  expect_filtered({"long stop", "stop"}, "a long sto", {"a long sto", false});
}

TEST(StopFilter, OfOverlappingStopsTheFirstToBeComplete) {
  expect_filtered({"abcd", "bc"}, "zabcd", {"za", true});
  expect_filtered({"bc", "abcd"}, "zabcd", {"za", true});
  expect_filtered({"abcd", "c"}, "zabxabcd", {"zabxab", true});
  expect_filtered({"bc", "abc"}, "zabc", {"z", true});  // together: the longest
  expect_filtered({"c", "abc", "bc"}, "zzabc", {"zz", true});
  expect_filtered({"abcabd", "abd!"}, "abcabcabd!", {"abc", true});
}

TEST(StopFilter, MatchesTextThatIsNotShown) {
  StopFilter filter({"b<end>", "<other>"});
  EXPECT_EQ(filter.push("a"), "a");
  EXPECT_EQ(filter.push_hidden("<begin>"), "");
  EXPECT_EQ(filter.push("b"), "");
  EXPECT_EQ(filter.push_hidden("<en"), "");
  EXPECT_EQ(filter.push("c"), "bc");  // the hidden part that only began is not shown after all
  EXPECT_EQ(filter.push("ab"), "a");
  EXPECT_EQ(filter.push_hidden("<end>"), "");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopFilter, HoldsBackNoMoreThanItMust) {
  StopFilter stop_filter({"END", "##"});
  EXPECT_EQ(stop_filter.push("one E"), "one ");
  EXPECT_EQ(stop_filter.push("N"), "");
  EXPECT_EQ(stop_filter.push("E"), "EN");
  EXPECT_EQ(stop_filter.push("#"), "E");
  EXPECT_EQ(stop_filter.push("x"), "#x");
  EXPECT_EQ(stop_filter.finish(), "");
}

TEST(StopFilter, IsSilentOnceStopped) {
  StopFilter stop_filter({"!"});
  EXPECT_EQ(stop_filter.push("a!b"), "a");
  EXPECT_TRUE(stop_filter.stopped());
  EXPECT_EQ(stop_filter.push("c"), "");
  EXPECT_EQ(stop_filter.finish(), "");
}

TEST(StopFilter, WithoutStopsPassesEverything) {
  for (const std::vector<std::string>& stops : {std::vector<std::string>{}, {""}, {"", ""}}) {
    StopFilter stop_filter(stops);
    EXPECT_EQ(stop_filter.push("anything"), "anything");
    EXPECT_EQ(stop_filter.push(""), "");
    EXPECT_FALSE(stop_filter.stopped());
  }
}

}  // namespace
}  // namespace nibble
