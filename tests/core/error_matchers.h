// EXPECT_ERROR(statement, matcher): the statement throws nibble::Error, in one line, and its
// message matches.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "nibble/core/error.h"

#define EXPECT_ERROR(statement, matcher)                                       \
  do {                                                                         \
    std::string error_message;                                                 \
    try {                                                                      \
      statement;                                                               \
      ADD_FAILURE() << "no Error from " #statement;                            \
    } catch (const nibble::Error& error) {                                     \
      error_message = error.what();                                            \
      EXPECT_THAT(error_message, matcher);                                     \
      EXPECT_EQ(error_message.find('\n'), std::string::npos) << error_message; \
    }                                                                          \
  } while (false)
