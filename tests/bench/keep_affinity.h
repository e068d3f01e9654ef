// Puts the calling thread's affinity mask back at the end of a test that pins threads.
#pragma once

#include <sched.h>

namespace nibble::testing {

class KeepAffinity {
 public:
  KeepAffinity() { sched_getaffinity(0, sizeof mask_, &mask_); }
  ~KeepAffinity() { sched_setaffinity(0, sizeof mask_, &mask_); }
  KeepAffinity(const KeepAffinity&) = delete;
  KeepAffinity& operator=(const KeepAffinity&) = delete;

 private:
  cpu_set_t mask_;
};

}  // namespace nibble::testing
