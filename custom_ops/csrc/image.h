// Images (N, C, H, W) as torch passes them: dtype, checks, the two memory layouts, threads.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "stored_type.h"

namespace mmattn {

using torch::headeronly::MemoryFormat;
using torch::stable::Tensor;

// Returns whether the channels of a pixel are neighbours in memory. An image that is both counts as
// contiguous.
inline bool is_channels_last(const Tensor& t) {
  if (t.is_contiguous()) return false;
  int64_t expected = 1;
  for (const int side : {1, 3, 2, 0}) {
    if (t.size(side) != 1 && t.stride(side) != expected) return false;
    expected *= t.size(side);
  }
  return true;
}

// Returns the image itself if it is contiguous or channels-last, else a copy in the nearer layout.
inline Tensor dense(const char* op, const char* name, const Tensor& t) {
  STD_TORCH_CHECK(t.is_cpu(), op, ": ", name, " must be on the CPU");
  STD_TORCH_CHECK(t.dim() == 4, op, ": ", name, " must have 4 dimensions");
  if (t.is_contiguous() || is_channels_last(t)) return t;
  if (t.stride(1) < t.stride(3)) return torch::stable::contiguous(t, MemoryFormat::ChannelsLast);
  return torch::stable::contiguous(t);
}

// Returns a gradient with the shape, the dtype and the layout of x.
inline Tensor gradient_like(const char* op, const Tensor& grad, const Tensor& x) {
  STD_TORCH_CHECK(
      grad.is_cpu() && grad.dim() == 4 && grad.scalar_type() == x.scalar_type() &&
          grad.size(0) == x.size(0) && grad.size(1) == x.size(1) && grad.size(2) == x.size(2) &&
          grad.size(3) == x.size(3),
      op, ": grad must have the device, the shape and the dtype of x");
  if (is_channels_last(x)) {
    return is_channels_last(grad) ? grad
                                  : torch::stable::contiguous(grad, MemoryFormat::ChannelsLast);
  }
  return grad.is_contiguous() ? grad : torch::stable::contiguous(grad);
}

// Returns a statistic, a gate or the gradient of one, contiguous.
inline Tensor small(
    const char* op, const char* name, const Tensor& t, ScalarType type,
    const std::vector<int64_t>& size) {
  bool fits = t.is_cpu() && t.dim() == int64_t(size.size()) && t.scalar_type() == type;
  for (size_t i = 0; fits && i < size.size(); ++i) fits = t.size(int64_t(i)) == size[i];
  STD_TORCH_CHECK(fits, op, ": ", name, " must fit x in device, dtype and shape");
  return t.is_contiguous() ? t : torch::stable::contiguous(t);
}

inline Tensor empty(
    const std::vector<int64_t>& size, ScalarType type, bool channels_last, const Tensor& like) {
  return torch::stable::empty(
      {size.data(), size.size()}, type, std::nullopt, like.device(), std::nullopt,
      channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

inline Tensor zeros_like(const Tensor& t) {
  Tensor zeros = torch::stable::empty_like(t);
  torch::stable::fill_(zeros, 0.0);
  return zeros;
}

// Sizes of an image, by which threads share out the work.
struct Shape {
  int64_t n, c, h, w;
  bool channels_last;

  explicit Shape(const Tensor& t)
      : n(t.size(0)),
        c(t.size(1)),
        h(t.size(2)),
        w(t.size(3)),
        channels_last(is_channels_last(t)) {}

  int64_t pixels() const { return h * w; }
};

// Calls f(i) for i below count, in all threads if there is enough work.
template <typename F>
void parallel(int64_t count, int64_t numbers_each, const F& f) {
  constexpr int64_t kWorthwhile = 1 << 15;  // numbers for one thread
  const int64_t grain = std::max<int64_t>(1, kWorthwhile / std::max<int64_t>(1, numbers_each));
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

// Transposes (N, rows, columns) to (N, columns, rows).
template <typename A>
void transpose(const A* from, int64_t n, int64_t rows, int64_t columns, A* to, A scale = A(1)) {
  constexpr int64_t kBlock = 64 / sizeof(A);  // a cache line
  const int64_t blocks = (columns + kBlock - 1) / kBlock;
  parallel(n * blocks, rows * kBlock, [&](int64_t task) {
    const int64_t image = task / blocks, begin = task % blocks * kBlock;
    const int64_t end = std::min(columns, begin + kBlock);
    const A* source = from + image * rows * columns;
    A* target = to + image * rows * columns;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = begin; i < end; ++i) {
        target[i * rows + row] = source[row * columns + i] * scale;
      }
    }
  });
}

// Gates of rows or columns (N, C, L) as channels-last images need them, (N, L, C), scaled.
template <typename A>
std::vector<A> channels_to_the_end(const A* from, int64_t n, int64_t c, int64_t length, A scale) {
  std::vector<A> to(n * c * length);
  transpose(from, n, c, length, to.data(), scale);
  return to;
}

}  // namespace mmattn
