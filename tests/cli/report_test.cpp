// nibble report: what it takes and writes. The page itself is tested in a browser
// (apps/web/report).
#include "cli/in_a_folder.h"

namespace nibble::testing {
namespace {

class Report : public InAFolder {};

TEST_F(Report, ResultsStandInThePageAsData) {
  write_file(folder_ / "a.json",
             R"json({"model": "a</script><script>alert(1)", "results": []})json");
  write_file(folder_ / "b.json", R"([1, "\ud83d\ude00"])");
  expect_success(here({"report", "a.json", "b.json", "-o", "page.html"}));
  const std::string page = read_file(folder_ / "page.html");
  EXPECT_NE(page.find("<p>2 results</p>"), std::string::npos);
  EXPECT_NE(page.find(R"json("model":"a\u003c/script>\u003cscript>alert(1)")json"),
            std::string::npos);
  EXPECT_EQ(page.find("</script><script>alert"), std::string::npos);
  EXPECT_EQ(page.find("{{"), page.rfind("{{"));  // at most one, in the bundle's own text
  EXPECT_EQ(page.find("{{results}}"), std::string::npos);
  EXPECT_EQ(page.substr(page.size() - 8), "</html>\n");
}

TEST_F(Report, BadInputIsNamedAndNothingIsWritten) {
  write_file(folder_ / "broken.json", "{\"a\": ");
  write_file(folder_ / "good.json", "{}");
  expect_failure(here({"report", "good.json", "broken.json", "-o", "p.html"}), 1, {"broken.json"});
  expect_failure(here({"report", "missing.json", "-o", "p.html"}), 1, {"missing.json"});
  expect_failure(here({"report", "good.json", "-o", "no/such/p.html"}), 1, {"no/such"});
  expect_failure(here({"report", "good.json"}), 2, {"--output"});
  expect_failure(here({"report", "-o", "p.html"}), 2, {"RESULT"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "p.html"));
}

}  // namespace
}  // namespace nibble::testing
