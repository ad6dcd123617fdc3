// Depthwise convolution of channels-last pictures, stride 1, any kernel and dilation. No torch here.
//
// One task takes one register-wide block of channels of one window of one picture. It copies what
// it reads into a dense scratch with zeros around, so that the inner loops see neither borders nor
// strides, and then works on register tiles:
//
//   forward          T neighbouring outputs x J taps: T + J - 1 loads of x and J of the weight serve
//                    T * J multiply-adds. With dilation d, "neighbouring" means d pixels apart.
//   weight gradient  J taps x T outputs: the same tile with the roles exchanged.
//
// The input gradient is the forward pass with a flipped kernel. The tile runs along the kernel's longer
// side ("inner"), so strips of either orientation are fast; the other side is called "outer".
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "scalar.h"
#include "vec.h"

namespace mmattn {
namespace depthwise {

// One side of the picture: input and output size, kernel size, dilation, zeros in front, and how far
// apart its neighbours are in memory (in elements).
struct Axis {
  int64_t in, out, kernel, dilation, pad;
  int64_t in_step, out_step;
};

struct Problem {
  int64_t batch, channels;
  Axis outer, inner;
  int64_t in_batch_step, out_batch_step;
  int64_t weight_channel_step, weight_outer_step, weight_inner_step;
};

// A part of the output that one task handles.
struct Window {
  int64_t outer_begin, outer_end, inner_begin, inner_end;
};

// Windows cover the output in the same way however many threads there are, so results do not depend
// on the number of threads.
struct Tiling {
  int64_t outer_rows, inner_columns, outer_count, inner_count;

  int64_t count() const { return outer_count * inner_count; }

  Window window(const Problem& p, int64_t index) const {
    const int64_t o = index / inner_count * outer_rows, i = index % inner_count * inner_columns;
    return {o, std::min(p.outer.out, o + outer_rows), i, std::min(p.inner.out, i + inner_columns)};
  }
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <typename A>
constexpr int64_t kScratchPixels = 512 * 1024 / (sizeof(A) * kLanes<A>);

template <typename A>
Tiling tile(const Problem& p) {
  constexpr int64_t kWidest = 256;  // wider pictures are cut, so that the rows of a kernel stay in L2
  constexpr int64_t kTasks = 32;    // enough to balance some threads
  Tiling t;
  t.inner_count = std::max<int64_t>(1, ceil_div(p.inner.out, kWidest));
  t.inner_columns = std::max<int64_t>(1, ceil_div(p.inner.out, t.inner_count));
  const int64_t halo = (p.outer.kernel - 1) * p.outer.dilation;
  const int64_t line = t.inner_columns + (p.inner.kernel + 2) * p.inner.dilation;
  const int64_t blocks = p.batch * ceil_div(p.channels, kLanes<A>) * t.inner_count;
  const int64_t fitting = std::max<int64_t>(kScratchPixels<A> / line - halo, 8);
  const int64_t sharing = std::max<int64_t>(ceil_div(p.outer.out * blocks, kTasks), halo / 2 + 8);
  t.outer_count = std::max<int64_t>(1, ceil_div(p.outer.out, std::min(fitting, sharing)));
  t.outer_rows = std::max<int64_t>(1, ceil_div(p.outer.out, t.outer_count));
  return t;
}

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
      memory_ = std::aligned_alloc(64, bytes);
      size_ = memory_ ? bytes : 0;
    }
    return static_cast<A*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};

// The scratch copy of the input that a window reads: rows are those that exist, columns carry zeros.
template <typename A>
struct Packed {
  A* data;
  int64_t row_begin, row_end;  // rows of the input
  int64_t columns;             // per row; column 0 is input column `column_begin`
  int64_t column_begin;

  const A* row(int64_t input_row) const {
    return data + (input_row - row_begin) * columns * kLanes<A>;
  }
};

// Pixels of `count` channels, `step` apart, to dense blocks of lanes.
template <typename S, typename A = Compute<S>>
void pack_pixels(const S* from, int64_t step, int64_t pixels, int count, A* to) {
  constexpr int L = kLanes<A>;
  if (count == L) {  // a size that the compiler knows
    for (int64_t i = 0; i < pixels; ++i) widen_block(from + i * step, L, L, to + i * L);
  } else {
    for (int64_t i = 0; i < pixels; ++i) widen_block(from + i * step, count, L, to + i * L);
  }
}

template <typename S, typename A = Compute<S>>
Packed<A> pack_input(const Problem& p, const S* x, int count, const Window& w, Scratch& scratch) {
  constexpr int L = kLanes<A>;
  Packed<A> packed;
  packed.row_begin = std::max<int64_t>(0, w.outer_begin - p.outer.pad);
  packed.row_end = std::min(
      p.outer.in, w.outer_end - p.outer.pad + (p.outer.kernel - 1) * p.outer.dilation);
  packed.row_end = std::max(packed.row_end, packed.row_begin);
  packed.column_begin = w.inner_begin - p.inner.pad;
  // The last tile may reach 3 outputs too far.
  packed.columns = w.inner_end - w.inner_begin + (p.inner.kernel + 2) * p.inner.dilation;
  packed.data = scratch.get<A>((packed.row_end - packed.row_begin) * packed.columns * L);
  const int64_t first = std::min(std::max<int64_t>(0, -packed.column_begin), packed.columns);
  const int64_t last = std::max(
      first, std::min(packed.columns, p.inner.in - packed.column_begin));
  for (int64_t row = packed.row_begin; row < packed.row_end; ++row) {
    A* to = packed.data + (row - packed.row_begin) * packed.columns * L;
    std::fill(to, to + first * L, A(0));
    std::fill(to + last * L, to + packed.columns * L, A(0));
    const S* from = x + row * p.outer.in_step + packed.column_begin * p.inner.in_step;
    pack_pixels(from + first * p.inner.in_step, p.inner.in_step, last - first, count, to + first * L);
  }
  return packed;
}

// The weight of a block of channels as [outer tap][inner tap][lane].
template <typename S, typename A = Compute<S>>
A* pack_weight(const Problem& p, const S* weight, int count, bool flip, Scratch& scratch) {
  constexpr int L = kLanes<A>;
  const int64_t taps = p.outer.kernel * p.inner.kernel;
  A* packed = scratch.get<A>(taps * L);
  for (int64_t o = 0; o < p.outer.kernel; ++o) {
    for (int64_t i = 0; i < p.inner.kernel; ++i) {
      const int64_t tap = o * p.inner.kernel + i;
      A* to = packed + (flip ? taps - 1 - tap : tap) * L;
      const S* from = weight + o * p.weight_outer_step + i * p.weight_inner_step;
      for (int c = 0; c < L; ++c) {
        to[c] = c < count ? A(widen(from[c * p.weight_channel_step])) : A(0);
      }
    }
  }
  return packed;
}

// Taps of one axis that reach the input for at least one output in [first, last].
inline std::pair<int64_t, int64_t> valid_taps(const Axis& a, int64_t first, int64_t last) {
  const int64_t d = a.dilation;
  const int64_t begin = a.pad - last > 0 ? ceil_div(a.pad - last, d) : 0;
  const int64_t beyond = a.in + a.pad - first;  // taps with tap * d < beyond reach it
  const int64_t end = beyond > 0 ? std::min(a.kernel, ceil_div(beyond, d)) : 0;
  return {begin, std::max(begin, end)};
}

// Tile sizes by registers: T sums, J taps and one input fit. Doubles are for checks, and get small code.
template <typename A>
constexpr bool kLarge = std::is_same<A, float>::value && kRegisters == 32;
template <typename A>
constexpr int kTileTaps = kLarge<A> ? 8 : 4;

// T outputs x J taps in registers.
template <typename A, int T, int J>
MMATTN_INLINE void multiply(Vec<A> (&acc)[T], const A* x, int64_t step, const A* weight) {
  constexpr int L = kLanes<A>;
  Vec<A> tap[J];
#pragma GCC unroll 32
  for (int j = 0; j < J; ++j) tap[j] = load<A>(weight + j * L);
#pragma GCC unroll 32
  for (int p = 0; p < T + J - 1; ++p) {
    const Vec<A> value = load<A>(x + p * step);
#pragma GCC unroll 32
    for (int j = 0; j < J; ++j) {
      if (p - j >= 0 && p - j < T) acc[p - j] += value * tap[j];
    }
  }
}

template <typename A, int T>
MMATTN_INLINE void multiply_rest(
    Vec<A> (&acc)[T], const A* x, int64_t step, const A* weight, int64_t taps) {
  switch (taps) {
    case 1: return multiply<A, T, 1>(acc, x, step, weight);
    case 2: return multiply<A, T, 2>(acc, x, step, weight);
    case 3: return multiply<A, T, 3>(acc, x, step, weight);
    default: break;
  }
  if constexpr (kLarge<A>) {
    switch (taps) {
      case 4: return multiply<A, T, 4>(acc, x, step, weight);
      case 5: return multiply<A, T, 5>(acc, x, step, weight);
      case 6: return multiply<A, T, 6>(acc, x, step, weight);
      case 7: return multiply<A, T, 7>(acc, x, step, weight);
      default: break;
    }
  }
}

// The taps that T outputs of one row need: `rows` lines of `taps`, `row_step` apart in the input.
template <typename A>
struct TileInput {
  const A *x, *weight, *bias;
  int64_t rows, taps, step, row_step, weight_row_step;
};

// T outputs, of which `count` are stored, `out_step` apart.
template <typename A, int T>
__attribute__((noinline)) void forward_tile(
    const TileInput<A>& in, int count, A* out, int64_t out_step) {
  constexpr int L = kLanes<A>;
  constexpr int J = kTileTaps<A>;
  Vec<A> acc[T];
  const Vec<A> start = load<A>(in.bias);
#pragma GCC unroll 32
  for (int t = 0; t < T; ++t) acc[t] = start;
  for (int64_t row = 0; row < in.rows; ++row) {
    const A* x = in.x + row * in.row_step;
    const A* w = in.weight + row * in.weight_row_step;
    int64_t left = in.taps;
    for (; left >= J; left -= J, x += J * in.step, w += J * L) multiply<A, T, J>(acc, x, in.step, w);
    multiply_rest<A, T>(acc, x, in.step, w, left);
  }
#pragma GCC unroll 32
  for (int t = 0; t < T; ++t) {
    if (t < count) store<A>(out + t * out_step, acc[t]);
  }
}

constexpr int kMostOutputs = 16;

// Computes up to `left` outputs; returns how many.
template <typename A>
inline int forward_outputs(const TileInput<A>& in, int64_t left, A* out, int64_t out_step) {
  const int count = int(std::min<int64_t>(left, kMostOutputs));
  if constexpr (kLarge<A>) {
    if (count > 12) return forward_tile<A, 16>(in, count, out, out_step), count;
    if (count > 8) return forward_tile<A, 12>(in, count, out, out_step), count;
  }
  const int fewer = std::min(count, 8);
  if (fewer > 4) return forward_tile<A, 8>(in, fewer, out, out_step), fewer;
  return forward_tile<A, 4>(in, fewer, out, out_step), fewer;
}

template <typename S, typename A = Compute<S>>
void forward_window(
    const Problem& p, const Window& w, const Packed<A>& x, const A* weight, const A* bias, int lanes,
    S* y) {
  constexpr int L = kLanes<A>;
  const Axis &outer = p.outer, &inner = p.inner;
  const int64_t d = inner.dilation, width = w.inner_end - w.inner_begin;
  alignas(kVectorBytes) A buffer[kMostOutputs * L];
  // Outputs at columns c, c + d, ... of a row, `left` at most; returns how many.
  auto outputs = [&](int64_t row, int64_t c, int64_t left) -> int {
    const int64_t column = w.inner_begin + c;
    const auto rows = valid_taps(outer, row, row);
    const auto taps = valid_taps(
        inner, column, column + (std::min<int64_t>(left, kMostOutputs) - 1) * d);
    const A* from = rows.first < rows.second
        ? x.row(row + rows.first * outer.dilation - outer.pad) + (c + taps.first * d) * L
        : nullptr;
    const TileInput<A> in{
        from, weight + (rows.first * inner.kernel + taps.first) * L, bias, rows.second - rows.first,
        taps.second - taps.first, d * L, outer.dilation * x.columns * L, inner.kernel * L};
    S* to = y + row * outer.out_step + column * inner.out_step;
    const int64_t to_step = d * inner.out_step;
    if constexpr (std::is_same<S, A>::value) {
      if (lanes == L) return forward_outputs<A>(in, left, to, to_step);
    }
    const int count = forward_outputs<A>(in, left, buffer, L);
    for (int t = 0; t < count; ++t) narrow_block(buffer + t * L, lanes, to + t * to_step);
    return count;
  };
  if (outer.kernel == 1) {  // nothing to reuse between rows: keep to the order of memory
    for (int64_t row = w.outer_begin; row < w.outer_end; ++row) {
      for (int64_t r = 0; r < std::min(d, width); ++r) {
        for (int64_t c = r; c < width;) c += outputs(row, c, ceil_div(width - c, d)) * d;
      }
    }
    return;
  }
  for (int64_t r = 0; r < std::min(d, width); ++r) {
    for (int64_t c = r; c < width;) {
      int done = 1;
      // Rows that share input rows follow each other, so that these stay in L1.
      for (int64_t phase = 0; phase < outer.dilation; ++phase) {
        for (int64_t row = w.outer_begin + phase; row < w.outer_end; row += outer.dilation) {
          done = outputs(row, c, ceil_div(width - c, d));
        }
      }
      c += done * d;
    }
  }
}

// Weight gradient of one row of the input against one row of the output gradient.
template <typename A, int J>
__attribute__((noinline)) void weight_taps(
    const A* x, const A* grad, int64_t width, int64_t dilation, A* sum) {
  constexpr int L = kLanes<A>;
  constexpr int T = kTileTaps<A>;
  Vec<A> acc[J];
#pragma GCC unroll 32
  for (int j = 0; j < J; ++j) acc[j] = load<A>(sum + j * L);
  const int64_t step = dilation * L;
  for (int64_t r = 0; r < std::min(dilation, width); ++r) {
    int64_t left = ceil_div(width - r, dilation);
    const A *from = x + r * L, *g = grad + r * L;
    for (; left >= T; left -= T, from += T * step, g += T * step) {
      Vec<A> out[T];
#pragma GCC unroll 32
      for (int t = 0; t < T; ++t) out[t] = load<A>(g + t * step);
#pragma GCC unroll 32
      for (int p = 0; p < T + J - 1; ++p) {
        const Vec<A> value = load<A>(from + p * step);
#pragma GCC unroll 32
        for (int t = 0; t < T; ++t) {
          if (p - t >= 0 && p - t < J) acc[p - t] += value * out[t];
        }
      }
    }
    for (; left > 0; --left, from += step, g += step) {
      const Vec<A> out = load<A>(g);
#pragma GCC unroll 32
      for (int j = 0; j < J; ++j) acc[j] += load<A>(from + j * step) * out;
    }
  }
#pragma GCC unroll 32
  for (int j = 0; j < J; ++j) store<A>(sum + j * L, acc[j]);
}

template <typename A>
MMATTN_INLINE void weight_taps_any(
    int64_t taps, const A* x, const A* grad, int64_t width, int64_t dilation, A* sum) {
  switch (taps) {
    case 1: return weight_taps<A, 1>(x, grad, width, dilation, sum);
    case 2: return weight_taps<A, 2>(x, grad, width, dilation, sum);
    case 3: return weight_taps<A, 3>(x, grad, width, dilation, sum);
    case 4: return weight_taps<A, 4>(x, grad, width, dilation, sum);
    default: break;
  }
  if constexpr (std::is_same<A, float>::value) {
    switch (taps) {
      case 5: return weight_taps<A, 5>(x, grad, width, dilation, sum);
      case 6: return weight_taps<A, 6>(x, grad, width, dilation, sum);
      case 7: return weight_taps<A, 7>(x, grad, width, dilation, sum);
      case 8: return weight_taps<A, 8>(x, grad, width, dilation, sum);
      default: break;
    }
  }
}

// Adds the window's part of the weight gradient to `sum`, [outer tap][inner tap][lane].
template <typename A>
void weight_window(const Problem& p, const Window& w, const Packed<A>& x, const A* grad, A* sum) {
  constexpr int L = kLanes<A>;
  constexpr int64_t kMost = std::is_same<A, float>::value ? 8 : 4;
  const Axis &outer = p.outer, &inner = p.inner;
  const int64_t width = w.inner_end - w.inner_begin;
  const int64_t parts = ceil_div(inner.kernel, kMost);
  for (int64_t row = w.outer_begin; row < w.outer_end; ++row) {
    const A* g = grad + (row - w.outer_begin) * width * L;
    const auto rows = valid_taps(outer, row, row);
    for (int64_t o = rows.first; o < rows.second; ++o) {
      const A* from = x.row(row + o * outer.dilation - outer.pad);
      for (int64_t part = 0; part < parts; ++part) {  // as even as possible: 11 taps are 6 and 5
        const int64_t begin = inner.kernel * part / parts, end = inner.kernel * (part + 1) / parts;
        weight_taps_any<A>(
            end - begin, from + begin * inner.dilation * L, g, width, inner.dilation,
            sum + (o * inner.kernel + begin) * L);
      }
    }
  }
}

// The output gradient of a window, dense: [row][column][lane].
template <typename S, typename A = Compute<S>>
A* pack_grad(const Problem& p, const S* grad, int count, const Window& w, Scratch& scratch) {
  constexpr int L = kLanes<A>;
  const int64_t width = w.inner_end - w.inner_begin;
  A* packed = scratch.get<A>((w.outer_end - w.outer_begin) * width * L);
  A* to = packed;
  for (int64_t row = w.outer_begin; row < w.outer_end; ++row, to += width * L) {
    const S* from = grad + row * p.outer.out_step + w.inner_begin * p.inner.out_step;
    pack_pixels(from, p.inner.out_step, width, count, to);
  }
  return packed;
}

}  // namespace depthwise
}  // namespace mmattn
