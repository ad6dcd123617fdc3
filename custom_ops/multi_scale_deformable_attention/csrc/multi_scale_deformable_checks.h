// Checks that the kernels rely on: shapes, dtypes, and levels that lie inside the values.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace mmattn {
namespace msda {

inline void check_arguments(
    const torch::stable::Tensor& value, const torch::stable::Tensor& locations,
    const torch::stable::Tensor& weights, const std::vector<int64_t>& shapes,
    const std::vector<int64_t>& starts) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(
      value.dim() == 4, "multi_scale_deformable_attention: value must have 4 dimensions");
  STD_TORCH_CHECK(
      locations.dim() == 6 && locations.size(5) == 2 && locations.size(0) == value.size(0) &&
          locations.size(2) == value.size(2),
      "multi_scale_deformable_attention: sampling_locations must have shape (B, Q, M, L, P, 2)");
  STD_TORCH_CHECK(
      weights.dim() == 5,
      "multi_scale_deformable_attention: attention_weights must have 5 dimensions");
  for (int i = 0; i < 5; ++i) {
    STD_TORCH_CHECK(
        weights.size(i) == locations.size(i),
        "multi_scale_deformable_attention: attention_weights and sampling_locations do not fit");
  }
  const ScalarType precise =
      value.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(
      locations.scalar_type() == precise && weights.scalar_type() == precise,
      "multi_scale_deformable_attention: locations and weights must be float32, or float64 like "
      "value");
  STD_TORCH_CHECK(
      locations.device() == value.device() && weights.device() == value.device(),
      "multi_scale_deformable_attention: tensors must be on one device");
  const int64_t pixels = value.size(1);
  STD_TORCH_CHECK(
      pixels <= std::numeric_limits<int32_t>::max(),
      "multi_scale_deformable_attention: too many pixels");
  STD_TORCH_CHECK(
      int64_t(starts.size()) == locations.size(3) && shapes.size() == 2 * starts.size(),
      "multi_scale_deformable_attention: sizes and starts must be given for every level");
  int64_t end = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t height = shapes[2 * i], width = shapes[2 * i + 1];
    // Each at most `pixels`, so that nothing below overflows.
    STD_TORCH_CHECK(
        height >= 1 && width >= 1 && height <= pixels && width <= pixels && starts[i] >= end &&
            starts[i] <= pixels && height * width <= pixels - starts[i],
        "multi_scale_deformable_attention: a level overlaps another or lies outside of value");
    end = starts[i] + height * width;
  }
}

inline void check_gradient(
    const torch::stable::Tensor& grad, const torch::stable::Tensor& value,
    const torch::stable::Tensor& locations) {
  STD_TORCH_CHECK(
      grad.dim() == 3 && grad.size(0) == value.size(0) && grad.size(1) == locations.size(1) &&
          grad.size(2) == value.size(2) * value.size(3) &&
          grad.scalar_type() == value.scalar_type() && grad.device() == value.device(),
      "multi_scale_deformable_attention: grad does not fit value and sampling_locations");
}

}  // namespace msda
}  // namespace mmattn
