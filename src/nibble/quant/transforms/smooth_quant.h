// SmoothQuant (Xiao et al. 2022, arXiv 2211.10438): scales move the spread of activations into the
// weights behind a norm, so that int8 is fine enough for both.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nibble/quant/calibration/transform.h"

namespace nibble {

/// The largest magnitude of each input feature of linear layers, by module name: (in features).
using ActivationMaxima = std::map<std::string, std::vector<float>>;

/// s_j = max|X_j|^alpha / max|W_j|^(1 - alpha) of each group behind a norm, max|W_j| being over all
/// its layers; it and s are 1e-5 at the least. Collects maxima from the calibration samples and
/// adds them to `found`.
std::shared_ptr<const Transform> make_smooth_quant(float alpha,
                                                   std::shared_ptr<ActivationMaxima> found);

/// The same with maxima that are known. Throws Error naming `origin`, their file, where some are
/// missing or do not fit.
std::shared_ptr<const Transform> make_smooth_quant(float alpha,
                                                   std::shared_ptr<const ActivationMaxima> maxima,
                                                   std::string origin = "SmoothQuant");

/// Reads maxima from a safetensors file or one that torch.save wrote (the published act_scales
/// files), a vector each. Throws Error naming file and vector.
ActivationMaxima read_activation_maxima(const std::filesystem::path& path);

/// Writes a safetensors file of them.
void write_activation_maxima(const std::filesystem::path& path, const ActivationMaxima& maxima);

}  // namespace nibble
