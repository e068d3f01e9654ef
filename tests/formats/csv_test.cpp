#include "nibble/formats/csv.h"

#include "core/error_matchers.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Fields = std::vector<std::string>;

std::vector<Fields> fields(std::string_view text) {
  std::vector<Fields> all;
  for (const CsvRecord& record : parse_csv(text, "file")) all.push_back(record.fields);
  return all;
}

TEST(Csv, FieldsAndRecords) {
  EXPECT_THAT(fields("a,b\nc,,d\n"), ElementsAre(Fields{"a", "b"}, Fields{"c", "", "d"}));
  EXPECT_THAT(fields(" a , b"), ElementsAre(Fields{" a ", " b"}));
  EXPECT_THAT(fields(","), ElementsAre(Fields{"", ""}));
  EXPECT_THAT(fields("a\rb\r\nc"), ElementsAre(Fields{"a"}, Fields{"b"}, Fields{"c"}));
  EXPECT_THAT(fields("\xef\xbb\xbf"
                     "a,b"),
              ElementsAre(Fields{"a", "b"}));
  EXPECT_THAT(fields(""), IsEmpty());
  EXPECT_THAT(fields("\n\r\n\r\n"), IsEmpty());
}

TEST(Csv, QuotedFields) {
  EXPECT_THAT(fields("\"a, \"\"b\"\"\",\"\"\nc,\"d\"\r\n"),
              ElementsAre(Fields{"a, \"b\"", ""}, Fields{"c", "d"}));
  EXPECT_THAT(fields("\"two\r\nlines\",b"), ElementsAre(Fields{"two\r\nlines", "b"}));
  EXPECT_THAT(fields("six \"of\" one,b"), ElementsAre(Fields{"six \"of\" one", "b"}));
}

TEST(Csv, RecordsKnowTheLineTheyBeginIn) {
  const auto records = parse_csv("a\n\n\"b\nb\rb\r\nb\",c\nd\n", "file");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].line, 1u);
  EXPECT_EQ(records[1].line, 3u);
  EXPECT_EQ(records[2].line, 7u);
}

TEST(Csv, WrongQuotesAreErrorsWithTheirLine) {
  EXPECT_ERROR(parse_csv("a\nb,\"c\nd\n", "file"), StartsWith("file:2: a quote is opened"));
  EXPECT_ERROR(parse_csv("a\n\"b\nb\" c\n", "file"), StartsWith("file:3: text behind"));
  EXPECT_ERROR(parse_csv("\"", "file"), HasSubstr("never closed"));
}

}  // namespace
}  // namespace nibble
