// Multi-scale deformable attention on the CPU, without torch. S is the stored type of the values, A
// the type of sums, locations and weights.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "scalar.h"
#include "vec.h"

namespace mmattn {
namespace msda {

struct Level {
  int64_t height, width, start;
  int64_t pixels() const { return height * width; }
};

// value is [batch][pixel][head][channel] with steps, the rest is dense: locations
// [batch][query][head][level][point][2], weights alike without the 2, output
// [batch][query][head][channel].
struct Problem {
  int64_t batch, pixels, heads, channels, queries, points;
  std::vector<Level> levels;
  int64_t batch_step, pixel_step, head_step;  // of value

  int64_t samples() const { return int64_t(levels.size()) * points; }
};

// Memory that a thread keeps from task to task, aligned to cache lines.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(memory_); }

  template <typename A>
  A* get(int64_t count) {
    const size_t bytes = (size_t(std::max<int64_t>(count, 1)) * sizeof(A) + 63) / 64 * 64;
    if (bytes > size_) {
      std::free(memory_);
      size_ = 0;
      memory_ = std::aligned_alloc(64, bytes);
      if (memory_ == nullptr) throw std::bad_alloc();
      size_ = bytes;
    }
    return static_cast<A*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};

// Size and start of the level of each sample, so that coordinates are computed in vectors.
template <typename A>
struct SampleLevels {
  explicit SampleLevels(const Problem& p) {
    for (const Level& level : p.levels) {
      for (int64_t i = 0; i < p.points; ++i) {
        height.push_back(A(level.height));
        width.push_back(A(level.width));
        rows.push_back(int32_t(level.height));
        columns.push_back(int32_t(level.width));
        start.push_back(int32_t(level.start));
      }
    }
  }
  std::vector<A> height, width;
  std::vector<int32_t> rows, columns, start;
};

constexpr int kChunk = 32;

// The four pixels that each sample reads, and their shares. A pixel beyond the feature map is
// replaced by its neighbour inside, with share 0. The order is top left, top right, bottom left,
// bottom right.
template <typename A>
struct Corners {
  alignas(64) A share[4][kChunk];  // times the attention weight
  alignas(64) int32_t pixel[4][kChunk];
  // For the gradients: shares along one axis, 0 beyond the feature map, and the weight.
  alignas(64) A left[kChunk], right[kChunk], top[kChunk], bottom[kChunk], weight[kChunk];
  // 1 where a column or a row exists, else 0.
  alignas(64) A has_left[kChunk], has_right[kChunk], has_top[kChunk], has_bottom[kChunk];
};

template <typename A, bool kGradients>
MMATTN_INLINE void find_corners(
    const A* __restrict__ location, const A* __restrict__ weight, int count,
    const A* __restrict__ height, const A* __restrict__ width, const int32_t* __restrict__ rows,
    const int32_t* __restrict__ columns, const int32_t* __restrict__ start, Corners<A>& c) {
  for (int i = 0; i < count; ++i) {
    const A half = A(0.5), zero = A(0), one = A(1);
    A x = location[2 * i] * width[i] - half, y = location[2 * i + 1] * height[i] - half;
    // Far points and NaN read nothing.
    const bool near = (x > -one) & (y > -one) & (x < width[i]) & (y < height[i]);
    x = near ? x : -one;
    y = near ? y : -one;
    const A floor_x = std::floor(x), floor_y = std::floor(y);
    const int32_t x0 = int32_t(floor_x), y0 = int32_t(floor_y);
    const A right = x - floor_x, bottom = y - floor_y;
    const A has_left = x0 >= 0 ? one : zero, has_right = near & (x0 + 1 < columns[i]) ? one : zero;
    const A has_top = y0 >= 0 ? one : zero, has_bottom = near & (y0 + 1 < rows[i]) ? one : zero;
    const A left_share = (one - right) * has_left, right_share = right * has_right;
    const A top_share = (one - bottom) * has_top, bottom_share = bottom * has_bottom;
    const int32_t xa = std::max(x0, 0), xb = std::min(x0 + 1, columns[i] - 1);
    const int32_t ya = start[i] + std::max(y0, 0) * columns[i];
    const int32_t yb = start[i] + std::min(y0 + 1, rows[i] - 1) * columns[i];
    const A top = top_share * weight[i], bottom_weighted = bottom_share * weight[i];
    c.share[0][i] = top * left_share;
    c.share[1][i] = top * right_share;
    c.share[2][i] = bottom_weighted * left_share;
    c.share[3][i] = bottom_weighted * right_share;
    c.pixel[0][i] = ya + xa;
    c.pixel[1][i] = ya + xb;
    c.pixel[2][i] = yb + xa;
    c.pixel[3][i] = yb + xb;
    if (kGradients) {
      c.left[i] = left_share;
      c.right[i] = right_share;
      c.top[i] = top_share;
      c.bottom[i] = bottom_share;
      c.weight[i] = weight[i];
      c.has_left[i] = has_left;
      c.has_right[i] = has_right;
      c.has_top[i] = has_top;
      c.has_bottom[i] = has_bottom;
    }
  }
}

template <typename S, typename A = Compute<S>>
MMATTN_INLINE Vec<A> load_wide(const S* from) {
  if constexpr (std::is_same<S, A>::value) {
    return load<A>(from);
  } else {
    alignas(kVectorBytes) A wide[kLanes<A>];
    for (int i = 0; i < kLanes<A>; ++i) wide[i] = widen(from[i]);
    return load<A>(wide);
  }
}

template <typename S, typename A = Compute<S>>
MMATTN_INLINE void store_narrow(S* to, Vec<A> v) {
  if constexpr (std::is_same<S, A>::value) {
    store<A>(to, v);
  } else {
    alignas(kVectorBytes) A wide[kLanes<A>];
    store<A>(wide, v);
    for (int i = 0; i < kLanes<A>; ++i) narrow(wide[i], to[i]);
  }
}

// V vectors of channels of one query and head, from `count` samples. Sums go to `sum`.
template <typename S, int V, typename A = Compute<S>>
MMATTN_INLINE void read_vectors(
    const Corners<A>& c, int count, const S* value, int64_t step, Vec<A> (&sum)[V]) {
  constexpr int L = kLanes<A>;
  for (int i = 0; i < count; ++i) {
    const S* from[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) from[k] = value + c.pixel[k][i] * step;
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const Vec<A> upper =
          c.share[0][i] * load_wide(from[0] + v * L) + c.share[1][i] * load_wide(from[1] + v * L);
      const Vec<A> lower =
          c.share[2][i] * load_wide(from[2] + v * L) + c.share[3][i] * load_wide(from[3] + v * L);
      sum[v] += upper + lower;
    }
  }
}

template <typename S, int V, typename A = Compute<S>>
MMATTN_INLINE int64_t forward_vectors(
    const Corners<A>& c, int count, const S* value, int64_t step, int64_t channel, int64_t channels,
    A* output) {
  constexpr int L = kLanes<A>;
  for (; channel + V * L <= channels; channel += V * L) {
    Vec<A> sum[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = load<A>(output + channel + v * L);
    read_vectors<S, V>(c, count, value + channel, step, sum);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store<A>(output + channel + v * L, sum[v]);
  }
  return channel;
}

// Queries [begin, end), counted over all images.
template <typename S, typename A = Compute<S>>
void forward_queries(
    const Problem& p, const SampleLevels<A>& levels, const S* value, const A* locations,
    const A* weights, S* output, int64_t begin, int64_t end, A* sums) {
  const int64_t samples = p.samples();
  Corners<A> c;
  for (int64_t query = begin; query < end; ++query) {
    const S* image = value + query / p.queries * p.batch_step;
    for (int64_t head = 0; head < p.heads; ++head) {
      const int64_t row = query * p.heads + head;
      const S* plane = image + head * p.head_step;
      std::fill(sums, sums + p.channels, A(0));
      for (int64_t first = 0; first < samples; first += kChunk) {
        const int count = int(std::min<int64_t>(kChunk, samples - first));
        find_corners<A, false>(
            locations + (row * samples + first) * 2, weights + row * samples + first, count,
            levels.height.data() + first, levels.width.data() + first, levels.rows.data() + first,
            levels.columns.data() + first, levels.start.data() + first, c);
        int64_t channel = 0;
        channel = forward_vectors<S, 4>(c, count, plane, p.pixel_step, channel, p.channels, sums);
        channel = forward_vectors<S, 2>(c, count, plane, p.pixel_step, channel, p.channels, sums);
        channel = forward_vectors<S, 1>(c, count, plane, p.pixel_step, channel, p.channels, sums);
        if (channel == p.channels) continue;
        for (int i = 0; i < count; ++i) {
          for (int k = 0; k < 4; ++k) {
            const S* from = plane + c.pixel[k][i] * p.pixel_step;
            const A share = c.share[k][i];
            for (int64_t j = channel; j < p.channels; ++j) sums[j] += share * widen(from[j]);
          }
        }
      }
      S* to = output + row * p.channels;
      for (int64_t j = 0; j < p.channels; ++j) narrow(sums[j], to[j]);
    }
  }
}

template <typename A, size_t... I>
MMATTN_INLINE auto add_halves(A v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, I...) + __builtin_shufflevector(v, v, (I + sizeof...(I))...);
}

// Sum of a vector's numbers, always in the same order.
template <typename A>
MMATTN_INLINE A total(Vec<A> v) {
  constexpr int L = kLanes<A>;
  if constexpr (L == 16) {
    const auto a = add_halves(v, std::make_index_sequence<8>());
    const auto b = add_halves(a, std::make_index_sequence<4>());
    return (b[0] + b[2]) + (b[1] + b[3]);
  } else if constexpr (L == 8) {
    const auto b = add_halves(v, std::make_index_sequence<4>());
    return (b[0] + b[2]) + (b[1] + b[3]);
  } else if constexpr (L == 4) {
    return (v[0] + v[2]) + (v[1] + v[3]);
  } else {
    return v[0] + v[1];
  }
}

// One level of one head of one image. Both feature maps have `lanes` channels per pixel, `step`
// apart, and begin at the level's first pixel. A null pointer leaves out that gradient.
template <typename A>
struct LevelTask {
  const A* value;
  int64_t value_step;
  A* grad_value;
  int64_t grad_value_step;
  int64_t lanes;  // whole vectors
};

// Gradients of `count` samples of one query, from V vectors of channels at `channel`.
template <typename A, int V>
MMATTN_INLINE void sample_gradients(
    const LevelTask<A>& task, const Corners<A>& c, int count, const A* grad, int64_t channel,
    A (&dots)[4][kChunk]) {
  constexpr int L = kLanes<A>;
  Vec<A> g[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) g[v] = load<A>(grad + channel + v * L);
  for (int i = 0; i < count; ++i) {
    if (task.value != nullptr) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const A* from = task.value + c.pixel[k][i] * task.value_step + channel;
        Vec<A> product = g[0] * load<A>(from);
#pragma GCC unroll 8
        for (int v = 1; v < V; ++v) product += g[v] * load<A>(from + v * L);
        dots[k][i] += total<A>(product);
      }
    }
    if (task.grad_value != nullptr) {
      // One corner after the other: at the edges two of them are the same pixel.
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        A* to = task.grad_value + c.pixel[k][i] * task.grad_value_step + channel;
        const A share = c.share[k][i];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) store<A>(to + v * L, load<A>(to + v * L) + share * g[v]);
      }
    }
  }
}

// From products of the output gradient with the four corners to gradients of weight and location.
template <typename A>
MMATTN_INLINE void point_gradients(
    const Corners<A>& c, int count, const A (&dots)[4][kChunk], A height, A width,
    A* __restrict__ grad_weight, A* __restrict__ grad_location) {
  for (int i = 0; i < count; ++i) {
    const A upper = c.left[i] * dots[0][i] + c.right[i] * dots[1][i];
    const A lower = c.left[i] * dots[2][i] + c.right[i] * dots[3][i];
    grad_weight[i] = c.top[i] * upper + c.bottom[i] * lower;
    const A at_left = c.top[i] * dots[0][i] + c.bottom[i] * dots[2][i];
    const A at_right = c.top[i] * dots[1][i] + c.bottom[i] * dots[3][i];
    const A across = c.has_right[i] * at_right - c.has_left[i] * at_left;
    const A down = c.has_bottom[i] * lower - c.has_top[i] * upper;
    grad_location[2 * i] = c.weight[i] * width * across;
    grad_location[2 * i + 1] = c.weight[i] * height * down;
  }
}

// Gradients of all samples; a null pointer leaves out that gradient.
template <typename S, typename A = Compute<S>>
struct Gradients {
  S* value;
  A *locations, *weights;
};

struct TaskScratch {
  Scratch value, grad_value, grad;
};

// Gradients of level `level` of head `head` of image `image`: no two such tasks write the same
// numbers. The level is copied into a dense feature map, where neighbouring pixels are neighbours
// in memory, unless so few points are read that the copy would cost more than it gains.
template <typename S, typename A = Compute<S>>
void backward_level(
    const Problem& p, int64_t image, int64_t head, int64_t index, const S* grad, const S* value,
    const A* locations, const A* weights, const Gradients<S>& out, TaskScratch& scratch) {
  constexpr int L = kLanes<A>;
  const Level& level = p.levels[index];
  const int64_t samples = p.samples(), pixels = level.pixels();
  const int64_t lanes = (p.channels + L - 1) / L * L;
  const bool need_points = out.locations != nullptr || out.weights != nullptr;
  const bool whole = std::is_same<S, A>::value && p.channels == lanes;
  const bool in_place = whole && p.queries * p.points < pixels;
  const int64_t out_step = p.heads * p.channels;

  LevelTask<A> task{nullptr, lanes, nullptr, lanes, lanes};
  const S* plane = value + image * p.batch_step + head * p.head_step + level.start * p.pixel_step;
  S* grad_plane = out.value == nullptr
      ? nullptr
      : out.value + ((image * p.pixels + level.start) * p.heads + head) * p.channels;
  if (need_points) {
    if constexpr (std::is_same<S, A>::value) {
      if (in_place) {
        task.value = plane;
        task.value_step = p.pixel_step;
      }
    }
    if (task.value == nullptr) {
      A* dense = scratch.value.get<A>(pixels * lanes);
      for (int64_t i = 0; i < pixels; ++i) {
        widen_block(plane + i * p.pixel_step, int(p.channels), int(lanes), dense + i * lanes);
      }
      task.value = dense;
    }
  }
  if (grad_plane != nullptr) {
    if constexpr (std::is_same<S, A>::value) {
      if (in_place) {
        task.grad_value = grad_plane;
        task.grad_value_step = out_step;
        for (int64_t i = 0; i < pixels; ++i) {
          std::fill(grad_plane + i * out_step, grad_plane + i * out_step + lanes, A(0));
        }
      }
    }
    if (task.grad_value == nullptr) {
      task.grad_value = scratch.grad_value.get<A>(pixels * lanes);
      std::fill(task.grad_value, task.grad_value + pixels * lanes, A(0));
    }
  }

  const A height = A(level.height), width = A(level.width);
  A heights[kChunk], widths[kChunk];
  int32_t rows[kChunk], columns[kChunk], starts[kChunk];
  std::fill(heights, heights + kChunk, height);
  std::fill(widths, widths + kChunk, width);
  std::fill(rows, rows + kChunk, int32_t(level.height));
  std::fill(columns, columns + kChunk, int32_t(level.width));
  std::fill(starts, starts + kChunk, 0);
  A* padded = scratch.grad.get<A>(lanes);
  Corners<A> c;
  alignas(64) A dots[4][kChunk];
  A grad_weight[kChunk], grad_location[2 * kChunk];
  for (int64_t query = 0; query < p.queries; ++query) {
    const int64_t row = (image * p.queries + query) * p.heads + head;
    const A* g = padded;
    if constexpr (std::is_same<S, A>::value) {
      if (whole) g = grad + row * p.channels;
    }
    if (g == padded) widen_block(grad + row * p.channels, int(p.channels), int(lanes), padded);
    for (int64_t point = 0; point < p.points; point += kChunk) {
      const int count = int(std::min<int64_t>(kChunk, p.points - point));
      const int64_t first = row * samples + index * p.points + point;
      find_corners<A, true>(
          locations + 2 * first, weights + first, count, heights, widths, rows, columns, starts, c);
      for (auto& dot : dots) std::fill(dot, dot + count, A(0));
      int64_t channel = 0;
      for (; channel + 4 * L <= lanes; channel += 4 * L) {
        sample_gradients<A, 4>(task, c, count, g, channel, dots);
      }
      for (; channel + 2 * L <= lanes; channel += 2 * L) {
        sample_gradients<A, 2>(task, c, count, g, channel, dots);
      }
      for (; channel < lanes; channel += L)
        sample_gradients<A, 1>(task, c, count, g, channel, dots);
      if (!need_points) continue;
      point_gradients(c, count, dots, height, width, grad_weight, grad_location);
      if (out.weights != nullptr) std::copy(grad_weight, grad_weight + count, out.weights + first);
      if (out.locations != nullptr) {
        std::copy(grad_location, grad_location + 2 * count, out.locations + 2 * first);
      }
    }
  }
  if (grad_plane != nullptr && !in_place) {
    for (int64_t i = 0; i < pixels; ++i) {
      narrow_block(task.grad_value + i * lanes, int(p.channels), grad_plane + i * out_step);
    }
  }
}

}  // namespace msda
}  // namespace mmattn
