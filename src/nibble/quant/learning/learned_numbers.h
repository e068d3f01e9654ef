// Numbers that are learned, and the optimizer that moves them: Adam (Kingma & Ba 2015) with a
// learning rate that rises over the first steps and falls by half a cosine.
#pragma once

#include <cstdint>
#include <vector>

namespace nibble {

struct LearnedNumbers {
  std::vector<float> values;
  std::vector<float> gradient;

  void resize(std::size_t n) {
    for (std::vector<float>* numbers : {&values, &gradient, &mean_, &square_}) numbers->resize(n);
  }

  /// One step against the gradient, which is 0 afterwards. step: 1, 2 ...
  void move(float rate, int step);

 private:
  std::vector<float> mean_;
  std::vector<float> square_;
};

/// The learning rate of step 1 ... steps: up in two steps to `peak`, down to 0.05 of it.
float learning_rate(float peak, int step, int steps);

}  // namespace nibble
