// A weight matrix together with the memory it lies in, if that is not a mapped file's.
#pragma once

#include "nibble/core/buffer.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

struct Weight {
  WeightView view;
  Buffer storage;  // empty where view points into a mapped checkpoint or an Arena
};

}  // namespace nibble
