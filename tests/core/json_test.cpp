#include "nibble/core/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::write_file;

TEST(ParseJson, NamesTheOriginAndThePlace) {
  EXPECT_ERROR(parse_json("{\"a\": }", "x.json"),
               AllOf(HasSubstr("x.json: not valid JSON"), HasSubstr("column 7")));
  EXPECT_ERROR(parse_json("", "x.json"), HasSubstr("not valid JSON"));
  EXPECT_ERROR(parse_json("{} {}", "x.json"), HasSubstr("not valid JSON"));
  EXPECT_ERROR(parse_json("[\"\xff\"]", "x.json"), HasSubstr("not valid JSON"));
  EXPECT_ERROR(parse_json("[1e999]", "x.json"), HasSubstr("not valid JSON"));
}

// As Python's json writes them, and transformers' configs have them.
TEST(ParseJson, ReadsNumbersThatAreNotFinite) {
  const Json json = parse_json(
      R"({"NaN": NaN, "list": [0.0, Infinity, -Infinity, -1], "text": "NaN, \"Infinity\" -Infinity"})",
      "x.json");
  EXPECT_TRUE(std::isnan(json["NaN"].get<double>()));
  EXPECT_EQ(json["list"][1].get<double>(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(json["list"][2].get<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(json["list"][3].get<int>(), -1);
  EXPECT_EQ(json["text"], "NaN, \"Infinity\" -Infinity");
  EXPECT_ERROR(JsonObject(json, "x.json").find_number("NaN"),
               HasSubstr("\"NaN\" must be a finite number, found NaN"));
  EXPECT_THAT(json_text(json), AllOf(HasSubstr("\"NaN\": NaN,"), HasSubstr("    -Infinity,\n")));
  EXPECT_EQ(parse_json(json_text(json), "x")["text"], json["text"]);
  EXPECT_EQ(json_text({{"a", 1.5}}), Json({{"a", 1.5}}).dump(2));
  for (const char* bad : {"[Nan]", "[NaNs]", "[Infinit]", "[--Infinity]", "NaN NaN"}) {
    EXPECT_ERROR(parse_json(bad, "x.json"), HasSubstr("x.json: not valid JSON"));
  }
}

TEST(ParseJson, RefusesDeepNesting) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(parse_json(nested(200), "x.json").is_array());
  EXPECT_ERROR(parse_json(nested(202), "x.json"), HasSubstr("deeper than 200"));
  EXPECT_ERROR(parse_json(nested(1'000'000), "x.json"), HasSubstr("deeper than 200"));
  EXPECT_ERROR(parse_json(std::string(1'000'000, '['), "x.json"), HasSubstr("x.json"));
}

TEST(ReadJsonFile, NamesTheFile) {
  const TemporaryFolder folder;
  write_file(folder / "good.json", "{\"a\": 1}");
  write_file(folder / "bad.json", "{");
  EXPECT_EQ(read_json_file(folder / "good.json")["a"], 1);
  EXPECT_ERROR(read_json_file(folder / "bad.json"), HasSubstr("bad.json: not valid JSON"));
  EXPECT_ERROR(read_json_file(folder / "none.json"), HasSubstr("none.json: cannot be opened"));
}

class JsonObjectTest : public ::testing::Test {
 protected:
  Json json_ = parse_json(R"({"i": 7, "n": -1, "f": 0.5, "s": "text", "b": true, "null": null,
                              "list": [1], "o": {"inner": "x"}, "big": 18446744073709551615})",
                          "c.json");
  JsonObject object_{json_, "c.json"};
};

TEST_F(JsonObjectTest, GivesWhatIsThere) {
  EXPECT_EQ(object_.get_int("i", 0, 10), 7);
  EXPECT_EQ(object_.find_int("n"), -1);
  EXPECT_EQ(object_.get_number("f"), 0.5);
  EXPECT_EQ(object_.get_number("i"), 7.0);
  EXPECT_EQ(object_.get_string("s"), "text");
  EXPECT_TRUE(object_.get_bool("b", false));
  EXPECT_EQ(object_.get_object("o").get_string("inner"), "x");
}

TEST_F(JsonObjectTest, NullCountsAsAbsent) {
  EXPECT_FALSE(object_.has("null"));
  EXPECT_EQ(object_.find_string("null"), std::nullopt);
  EXPECT_EQ(object_.get_int("null", 0, 10, 3), 3);
  EXPECT_TRUE(object_.get_bool("null", true));
  EXPECT_FALSE(object_.find_object("absent").has_value());
  EXPECT_ERROR(object_.get_string("null"), HasSubstr("\"null\" is missing (expected a string)"));
}

TEST_F(JsonObjectTest, WrongTypesNameKeyExpectedAndFound) {
  EXPECT_ERROR(object_.get_string("i"), HasSubstr("c.json: \"i\" must be a string, found 7"));
  EXPECT_ERROR(object_.find_int("f"), HasSubstr("\"f\" must be an integer, found 0.5"));
  EXPECT_ERROR(object_.find_int("big"), HasSubstr("must be an integer"));
  EXPECT_ERROR(object_.find_bool("s"), HasSubstr("must be true or false, found \"text\""));
  EXPECT_ERROR(object_.get_number("list"), HasSubstr("found a list"));
  EXPECT_ERROR(object_.get_object("list"), HasSubstr("must be an object, found a list"));
  EXPECT_ERROR(object_.get_object("o").get_int("inner", 0, 1),
               HasSubstr("c.json: \"o\": \"inner\" must be an integer"));
  EXPECT_ERROR(JsonObject(json_["list"], "c.json"), HasSubstr("must be a JSON object"));
}

TEST_F(JsonObjectTest, IntegersKeepToTheirRange) {
  EXPECT_ERROR(object_.get_int("i", 8, 10), HasSubstr("an integer of 8 to 10, found 7"));
  EXPECT_ERROR(object_.get_int("i", 0, 6), HasSubstr("an integer of 0 to 6, found 7"));
  EXPECT_ERROR(object_.get_int("absent", 0, 6), HasSubstr("\"absent\" is missing"));
}

}  // namespace
}  // namespace nibble
