// Tests of commands that run in a folder of their own.
#pragma once

#include "cli/expect_failure.h"
#include "core/temporary_folder.h"

namespace nibble::testing {

class InAFolder : public ::testing::Test {
 protected:
  Outcome here(const std::vector<std::string>& args) const {
    Invocation run;
    run.args = args;
    run.folder = folder_.path();
    return run_command(run);
  }

  const TemporaryFolder folder_;
};

/// The same with a small model beside, "model".
class BesideAModel : public InAFolder {
 protected:
  const std::filesystem::path model_ = copy_stories(folder_ / "model");
};

}  // namespace nibble::testing
