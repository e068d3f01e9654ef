// Templates that would run for ever, fill the memory or the stack end with an error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "template/render.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;
using testing::render;
using ::testing::StartsWith;

std::string repeated(const std::string& piece, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += piece;
  return text;
}

const std::string kLoop = "{% for i in range(100000) %}";
const std::string kEnd = "{% endfor %}";

TEST(LimitsSlow, EndlessWork) {
  EXPECT_THAT(render(kLoop + kLoop + kLoop + kEnd + kEnd + kEnd), StartsWith("TimeoutError"));
  EXPECT_THAT(render("{% set s = 'a' * 1000000 %}" + kLoop + "{% set x = s | upper %}" + kEnd),
              StartsWith("TimeoutError"));
}

TEST(Limits, Memory) {
  EXPECT_THAT(render("{{ 'a' * 10000000000 }}"), StartsWith("MemoryError"));
  EXPECT_THAT(render("{{ [1] * 100000000 }}"), StartsWith("MemoryError"));
  EXPECT_THAT(
      render("{% set ns = namespace(s='ab') %}" + kLoop + "{% set ns.s = ns.s ~ ns.s %}" + kEnd),
      StartsWith("MemoryError"));
  EXPECT_THAT(
      render("{% set ns = namespace(l=[0]) %}" + kLoop + "{% set ns.l = ns.l + ns.l %}" + kEnd),
      StartsWith("MemoryError"));
  EXPECT_THAT(render("{{ ('a' * 100000).replace('a', 'b' * 100000) }}"), StartsWith("MemoryError"));
  EXPECT_THAT(render("{{ 'x'.center(100000000000) }}"), StartsWith("MemoryError"));
  EXPECT_THAT(render("{{ '%1000000000d' % 1 }}"), StartsWith("ValueError"));
  EXPECT_THAT(render("{{ '{:1000000000}'.format(1) }}"), StartsWith("ValueError"));
  EXPECT_THAT(render("{{ [[1]] | tojson(indent=10000000000) }}"), StartsWith("MemoryError"));
}

TEST(LimitsSlow, SharedPartsPrintedManyTimes) {
  const std::string doubled =
      "{% set ns = namespace(l=['abcdefgh']) %}{% for i in range(40) %}"
      "{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
  for (const char* print : {"{{ ns.l }}", "{{ ns.l | tojson }}", "{{ ns.l == ns.l }}"}) {
    EXPECT_THAT(render(doubled + print),
                ::testing::AnyOf(StartsWith("MemoryError"), StartsWith("TimeoutError")));
  }
}

TEST(Limits, WhatIsNotThereIsRefusedByName) {
  EXPECT_THAT(render("{{ lipsum() }}"), StartsWith("NotImplementedError: lipsum()"));
  EXPECT_EQ(render("{{ lipsum is defined }}"), "True");
  EXPECT_THAT(render("{{ 'a'.encode() }}"), StartsWith("NotImplementedError: str.encode()"));
}

TEST(Limits, Output) {
  EXPECT_THAT(render("{% set s = 'a' * 1000000 %}" + kLoop + "{{ s }}" + kEnd),
              StartsWith("OverflowError: the template writes more than"));
}

TEST(Limits, Depth) {
  EXPECT_THAT(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
              StartsWith("RecursionError"));
  EXPECT_THAT(render("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}"),
              StartsWith("TemplateSyntaxError"));
  EXPECT_THAT(render("{{ 1" + repeated(" + 1", 5000) + " }}"), StartsWith("TemplateSyntaxError"));
  EXPECT_THAT(render("{{ x" + repeated(".a", 5000) + " }}"), StartsWith("TemplateSyntaxError"));
  EXPECT_THAT(render("{{ x" + repeated("|trim", 5000) + " }}"), StartsWith("TemplateSyntaxError"));
  EXPECT_THAT(render("{{ " + repeated("not ", 5000) + "1 }}"), StartsWith("TemplateSyntaxError"));
  EXPECT_THAT(render(repeated("{% if 1 %}", 5000)), StartsWith("TemplateSyntaxError"));
  EXPECT_EQ(render("{{ 1" + repeated(" ~ 1", 5000) + " }}"), repeated("1", 5001));
}

TEST(Limits, ValuesInsideValues) {
  const auto grown = [](const std::string& start, const std::string& step) {
    return render("{% set ns = namespace(v=" + start + ") %}" + kLoop + "{% set ns.v = " + step +
                  " %}" + kEnd);
  };
  EXPECT_THAT(grown("0", "[ns.v]"), StartsWith("RecursionError"));
  EXPECT_THAT(grown("0", "{'a': ns.v}"), StartsWith("RecursionError"));
  EXPECT_THAT(grown("'ab'", "ns.v | map('upper')"), StartsWith("RecursionError"));
  EXPECT_THAT(grown("{}", "{'a': ns.v.get}"), StartsWith("RecursionError"));
  EXPECT_THAT(grown("0", "cycler(ns.v)"), StartsWith("RecursionError"));
  EXPECT_EQ(grown("0", "namespace(v=ns.v)"), "");  // however many: they are let go one by one
}

TEST(Limits, CirclesAreLetGo) {  // LeakSanitizer sees to it
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.me = ns %}"), "");
  EXPECT_EQ(render("{% set ns = namespace() %}{% for i in [1] %}{% set ns.l = loop %}"
                   "{{ loop.changed(loop) }}{% macro m() %}{{ m }}{% endmacro %}{% set ns.m = m %}"
                   "{% endfor %}{{ ns.l.length }}{{ ns.l.changed(1) }}"),
            "True1True");
  EXPECT_THAT(render("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}"),
              StartsWith("RecursionError"));
}

TEST(Limits, MethodsOutliveTheirObjects) {
  EXPECT_EQ(render("{% set f = cycler('a', 'b').next %}{{ f() }}{{ f() }}{{ f() }}"), "aba");
  EXPECT_EQ(render("{% set ns = namespace() %}{% for i in 'ab' %}{% set ns.c = loop.cycle %}"
                   "{% endfor %}{{ ns.c('x', 'y') }}"),
            "y");
}

TEST(Limits, Integers) {
  EXPECT_EQ(render("{{ 18446744073709551615 }} {{ -9223372036854775809 }}"),
            "18446744073709551615 -9223372036854775809");
  EXPECT_THAT(render("{{ 2 ** 200 }}"), StartsWith("OverflowError"));
  EXPECT_THAT(render("{{ 99999999999999999999999999999999999999999999 }}"),
              StartsWith("TemplateSyntaxError"));
}

TEST(ChatTemplate, NamesFileAndLine) {
  const ChatTemplate failing("a\nb {{ none + 1 }}", "some.jinja");
  try {
    failing.render({});
    FAIL();
  } catch (const TemplateError& error) {
    EXPECT_STREQ(error.what(),
                 "some.jinja, line 2: TypeError: unsupported operand type(s) for +: 'NoneType' and "
                 "'int'");
  }
  EXPECT_THROW(ChatTemplate("\xff", "some.jinja"), Error);
}

TEST(ChatTemplate, WritesTheDate) {
  const std::string year = render("{{ strftime_now('%Y') }}");
  EXPECT_GE(std::stoi(year), 2026);
  EXPECT_EQ(year.size(), 4u);
  EXPECT_EQ(render("{{ strftime_now('%%d') }}"), "%d");
}

TEST(ChatTemplate, RefusesOtherFiles) {
  EXPECT_THAT(render("{% include 'x' %}"), HasSubstr("'include' is not supported"));
}

}  // namespace
}  // namespace nibble
