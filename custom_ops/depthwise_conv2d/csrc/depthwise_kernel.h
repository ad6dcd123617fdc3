// Depthwise convolution of channels-last images, stride 1, any kernel and dilation. Does not use
// torch.
//
// One task takes one register-wide block of channels of one window of one image. It copies what
// it reads into a dense scratch with zeros around, so that the inner loops see neither borders nor
// strides, and then works on register tiles:
//
//   forward          T neighbouring outputs x J taps: T + J - 1 loads of x and J of the weight
//   serve
//                    T * J multiply-adds. With dilation d, "neighbouring" means d pixels apart.
//   weight gradient  J taps x T outputs: the same tile with the roles exchanged.
//
// The input gradient is the forward pass with a flipped kernel. The tile runs along the kernel's
// longer side ("inner"), so strips of either orientation are fast; the other side is called
// "outer".
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "scalar.h"
#include "vec.h"

namespace mmattn {
namespace depthwise {

// One side of the image: input and output size, kernel size, dilation, zeros in front, and how far
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

// Blocks of channels that one task takes together: they share the cache lines' neighbourhood, and
// the pixels of a staged window are written whole.
constexpr int64_t kGroup = 8;

// Strips do few sums for each number that they read and write, so memory decides: their windows are
// some lines whose results are staged in L1 and L2 and copied out in the order of memory.
constexpr int64_t kStageBytes = 64 * 1024;
constexpr int64_t kScratchBytes = 512 * 1024;

template <typename A>
Tiling tile(const Problem& p) {
  constexpr int64_t kWidest = 256;  // wider images are cut, so that a kernel's rows stay in L2
  constexpr int64_t kTasks = 16;    // at least, where the image is not small
  const int64_t pixel = kLanes<A> * sizeof(A), blocks = ceil_div(p.channels, kLanes<A>);
  Tiling t;
  t.inner_count = std::max<int64_t>(1, ceil_div(p.inner.out, kWidest));
  t.inner_columns = std::max<int64_t>(1, ceil_div(p.inner.out, t.inner_count));
  int64_t rows;
  if (p.outer.kernel == 1) {
    rows = kStageBytes / (t.inner_columns * std::min(blocks, kGroup) * pixel);
  } else {
    const int64_t halo = (p.outer.kernel - 1) * p.outer.dilation;
    const int64_t line = t.inner_columns + (p.inner.kernel + 2) * p.inner.dilation;
    const int64_t fitting = std::max<int64_t>(kScratchBytes / (line * pixel) - halo, 8);
    const int64_t all = p.outer.out * p.batch * blocks * t.inner_count;
    rows = std::min(fitting, std::max<int64_t>(ceil_div(all, kTasks), halo / 2 + 8));
  }
  t.outer_count = std::max<int64_t>(1, ceil_div(p.outer.out, std::max<int64_t>(rows, 1)));
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

// A dense copy of a part of an image, one block of lanes per pixel. Neighbouring pixels of the
// image are neighbours here too, whichever axis is the inner one.
template <typename A>
struct Packed {
  A* data;
  int64_t row_begin, column_begin;  // position in the image that `data` points at
  int64_t row_step, column_step;    // in numbers

  const A* at(int64_t row, int64_t column) const {
    return data + (row - row_begin) * row_step + (column - column_begin) * column_step;
  }
};

// Pixels of `count` channels, `step` apart, to dense blocks of lanes. The next `siblings` channels
// are needed soon; they are fetched now, so that memory is read in order.
template <typename S, typename A = Compute<S>>
void pack_pixels(const S* from, int64_t step, int64_t pixels, int count, int64_t siblings, A* to) {
  constexpr int L = kLanes<A>;
  constexpr int64_t kLine = 64 / sizeof(S);
  if (siblings > 0) {
    for (int64_t i = 0; i < pixels; ++i) {
      const S* pixel = from + i * step;
      widen_block(pixel, count, L, to + i * L);
      for (int64_t c = L; c < L + siblings; c += kLine) __builtin_prefetch(pixel + c, 0, 2);
    }
  } else if (count == L) {  // a size that the compiler knows
    for (int64_t i = 0; i < pixels; ++i) widen_block(from + i * step, L, L, to + i * L);
  } else {
    for (int64_t i = 0; i < pixels; ++i) widen_block(from + i * step, count, L, to + i * L);
  }
}

// Rows of the outer axis in [row_begin, row_end) must exist; columns of the inner axis that do not
// are zero.
template <typename S, typename A = Compute<S>>
Packed<A> pack(
    const S* from, int64_t outer_step, int64_t inner_step, int64_t inner_size, int64_t row_begin,
    int64_t row_end, int64_t column_begin, int64_t column_end, int count, int64_t siblings,
    Scratch& scratch) {
  constexpr int L = kLanes<A>;
  const int64_t rows = row_end - row_begin, columns = column_end - column_begin;
  const int64_t first = std::min(std::max<int64_t>(column_begin, 0), column_end);
  const int64_t last = std::max(first, std::min(column_end, inner_size));
  const bool upright = inner_step > outer_step;
  // An odd number of pixels between neighbours of the slow axis: a power of two would send all of
  // them to the same few sets of the cache.
  const int64_t line = (upright ? rows : columns) | 1;
  Packed<A> to{
      scratch.get<A>(line * (upright ? columns : rows) * L), row_begin, column_begin,
      upright ? L : line * L, upright ? line * L : L};
  if (upright) {
    for (int64_t c = column_begin; c < column_end; ++c) {
      A* p = to.data + (c - column_begin) * to.column_step;
      if (c < first || c >= last) {
        std::fill(p, p + rows * L, A(0));
      } else {
        pack_pixels(
            from + row_begin * outer_step + c * inner_step, outer_step, rows, count, siblings, p);
      }
    }
    return to;
  }
  for (int64_t r = row_begin; r < row_end; ++r) {
    A* p = to.data + (r - row_begin) * to.row_step;
    std::fill(p, p + (first - column_begin) * L, A(0));
    pack_pixels(
        from + r * outer_step + first * inner_step, inner_step, last - first, count, siblings,
        p + (first - column_begin) * L);
    std::fill(p + (last - column_begin) * L, p + columns * L, A(0));
  }
  return to;
}

// Input of a window. The last tile of a line may reach 3 outputs too far.
template <typename S, typename A = Compute<S>>
Packed<A> pack_input(
    const Problem& p, const S* x, int count, int64_t siblings, const Window& w, Scratch& scratch) {
  const Axis &outer = p.outer, &inner = p.inner;
  const int64_t first = std::max<int64_t>(0, w.outer_begin - outer.pad);
  const int64_t last =
      std::min(outer.in, w.outer_end - outer.pad + (outer.kernel - 1) * outer.dilation);
  return pack(
      x, outer.in_step, inner.in_step, inner.in, first, std::max(first, last),
      w.inner_begin - inner.pad, w.inner_end - inner.pad + (inner.kernel + 2) * inner.dilation,
      count, siblings, scratch);
}

// The output gradient of a window.
template <typename S, typename A = Compute<S>>
Packed<A> pack_grad(
    const Problem& p, const S* grad, int count, int64_t siblings, const Window& w,
    Scratch& scratch) {
  return pack(
      grad, p.outer.out_step, p.inner.out_step, p.inner.out, w.outer_begin, w.outer_end,
      w.inner_begin, w.inner_end, count, siblings, scratch);
}

// The weight of a block of channels as [outer tap][inner tap][lane].
template <typename S, typename A = Compute<S>>
void pack_weight(const Problem& p, const S* weight, int count, bool flip, A* packed) {
  constexpr int L = kLanes<A>;
  const int64_t taps = p.outer.kernel * p.inner.kernel;
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
}

// Taps of one axis that reach the input for at least one output in [first, last].
inline std::pair<int64_t, int64_t> valid_taps(const Axis& a, int64_t first, int64_t last) {
  const int64_t d = a.dilation;
  const int64_t begin = a.pad - last > 0 ? ceil_div(a.pad - last, d) : 0;
  const int64_t beyond = a.in + a.pad - first;  // taps with tap * d < beyond reach it
  const int64_t end = beyond > 0 ? std::min(a.kernel, ceil_div(beyond, d)) : 0;
  return {begin, std::max(begin, end)};
}

// Tile sizes by registers: T sums, J taps and one input fit. Doubles are for checks: small code.
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
  // Stored after all sums, when the prefetched lines have arrived.
  for (int t = 0; t < count; ++t) __builtin_prefetch(out + t * out_step, 1);
  Vec<A> acc[T];
  const Vec<A> start = load<A>(in.bias);
#pragma GCC unroll 32
  for (int t = 0; t < T; ++t) acc[t] = start;
  for (int64_t row = 0; row < in.rows; ++row) {
    const A* x = in.x + row * in.row_step;
    const A* w = in.weight + row * in.weight_row_step;
    int64_t left = in.taps;
    for (; left >= J; left -= J, x += J * in.step, w += J * L)
      multiply<A, T, J>(acc, x, in.step, w);
    multiply_rest<A, T>(acc, x, in.step, w, left);
  }
#pragma GCC unroll 32
  for (int t = 0; t < T; ++t) {
    if (t < count) store<A>(out + t * out_step, acc[t]);
  }
}

template <typename A>
constexpr int kMostOutputs = kLarge<A> ? 16 : 8;

template <typename A>
inline void forward_outputs(const TileInput<A>& in, int count, A* out, int64_t out_step) {
  if constexpr (kLarge<A>) {
    if (count > 12) return forward_tile<A, 16>(in, count, out, out_step);
    if (count > 8) return forward_tile<A, 12>(in, count, out, out_step);
  }
  if (count > 4) return forward_tile<A, 8>(in, count, out, out_step);
  return forward_tile<A, 4>(in, count, out, out_step);
}

// Outputs at columns c, c + d, c + 2d, ... of every row, and the taps that they need.
struct Span {
  int64_t column, first_tap, taps;
  int count;
};

template <typename A>
std::vector<Span> make_spans(const Problem& p, const Window& w) {
  const int64_t d = p.inner.dilation, width = w.inner_end - w.inner_begin;
  std::vector<Span> spans;
  for (int64_t r = 0; r < std::min(d, width); ++r) {
    for (int64_t c = r; c < width;) {
      const int count = int(std::min<int64_t>(ceil_div(width - c, d), kMostOutputs<A>));
      const int64_t column = w.inner_begin + c;
      const auto taps = valid_taps(p.inner, column, column + (count - 1) * d);
      spans.push_back({c, taps.first, taps.second - taps.first, count});
      c += count * d;
    }
  }
  return spans;
}

// Target of the outputs of a window.
template <typename S>
struct Target {
  S* data;  // of the window's first output
  int64_t outer_step, inner_step;
};

template <typename S, typename A = Compute<S>>
void forward_window(
    const Problem& p, const Window& w, const std::vector<Span>& spans, const Packed<A>& x,
    const A* weight, const A* bias, int lanes, const Target<S>& y) {
  constexpr int L = kLanes<A>;
  const Axis &outer = p.outer, &inner = p.inner;
  const int64_t d = inner.dilation;
  const int64_t row_step = outer.dilation * x.row_step, step = d * x.column_step;
  const int64_t out_step = d * y.inner_step;
  alignas(kVectorBytes) A buffer[kMostOutputs<A> * L];
  auto outputs = [&](int64_t row, const std::pair<int64_t, int64_t>& rows, const Span& span) {
    TileInput<A> in{
        nullptr,   nullptr, bias,     rows.second - rows.first,
        span.taps, step,    row_step, inner.kernel * L,
    };
    if (in.rows > 0) {
      in.x = x.at(
          row + rows.first * outer.dilation - outer.pad,
          w.inner_begin + span.column + span.first_tap * d - inner.pad);
      in.weight = weight + (rows.first * inner.kernel + span.first_tap) * L;
    }
    S* to = y.data + (row - w.outer_begin) * y.outer_step + span.column * y.inner_step;
    if constexpr (std::is_same<S, A>::value) {
      if (lanes == L) return forward_outputs<A>(in, span.count, to, out_step);
    }
    forward_outputs<A>(in, span.count, buffer, L);
    for (int t = 0; t < span.count; ++t) narrow_block(buffer + t * L, lanes, to + t * out_step);
  };
  if (outer.kernel == 1 && y.outer_step > y.inner_step) {
    // Nothing to reuse between rows: keep to the order of memory.
    for (int64_t row = w.outer_begin; row < w.outer_end; ++row) {
      const auto rows = valid_taps(outer, row, row);
      for (const Span& span : spans) outputs(row, rows, span);
    }
    return;
  }
  std::vector<std::pair<int64_t, int64_t>> rows;
  for (int64_t row = w.outer_begin; row < w.outer_end; ++row) {
    rows.push_back(valid_taps(outer, row, row));
  }
  for (const Span& span : spans) {
    // Rows that share input rows follow each other, so that these stay in L1.
    for (int64_t phase = 0; phase < outer.dilation; ++phase) {
      for (int64_t row = w.outer_begin + phase; row < w.outer_end; row += outer.dilation) {
        outputs(row, rows[row - w.outer_begin], span);
      }
    }
  }
}

// Weight gradient of one row of the input against one row of the output gradient.
template <typename A, int J>
__attribute__((noinline)) void weight_taps(
    const A* x, int64_t x_step, const A* grad, int64_t grad_step, int64_t width, int64_t dilation,
    A* sum) {
  constexpr int L = kLanes<A>;
  constexpr int T = kTileTaps<A>;
  Vec<A> acc[J];
#pragma GCC unroll 32
  for (int j = 0; j < J; ++j) acc[j] = load<A>(sum + j * L);
  const int64_t step = dilation * x_step, g_step = dilation * grad_step;
  for (int64_t r = 0; r < std::min(dilation, width); ++r) {
    int64_t left = ceil_div(width - r, dilation);
    const A *from = x + r * x_step, *g = grad + r * grad_step;
    for (; left >= T; left -= T, from += T * step, g += T * g_step) {
      Vec<A> out[T];
#pragma GCC unroll 32
      for (int t = 0; t < T; ++t) out[t] = load<A>(g + t * g_step);
#pragma GCC unroll 32
      for (int p = 0; p < T + J - 1; ++p) {
        const Vec<A> value = load<A>(from + p * step);
#pragma GCC unroll 32
        for (int t = 0; t < T; ++t) {
          if (p - t >= 0 && p - t < J) acc[p - t] += value * out[t];
        }
      }
    }
    for (; left > 0; --left, from += step, g += g_step) {
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
    int64_t taps, const A* x, int64_t x_step, const A* grad, int64_t grad_step, int64_t width,
    int64_t dilation, A* sum) {
  switch (taps) {
    case 1: return weight_taps<A, 1>(x, x_step, grad, grad_step, width, dilation, sum);
    case 2: return weight_taps<A, 2>(x, x_step, grad, grad_step, width, dilation, sum);
    case 3: return weight_taps<A, 3>(x, x_step, grad, grad_step, width, dilation, sum);
    case 4: return weight_taps<A, 4>(x, x_step, grad, grad_step, width, dilation, sum);
    default: break;
  }
  if constexpr (std::is_same<A, float>::value) {
    switch (taps) {
      case 5: return weight_taps<A, 5>(x, x_step, grad, grad_step, width, dilation, sum);
      case 6: return weight_taps<A, 6>(x, x_step, grad, grad_step, width, dilation, sum);
      case 7: return weight_taps<A, 7>(x, x_step, grad, grad_step, width, dilation, sum);
      case 8: return weight_taps<A, 8>(x, x_step, grad, grad_step, width, dilation, sum);
      default: break;
    }
  }
}

// Adds the window's part of the weight gradient to `sum`, [outer tap][inner tap][lane].
template <typename A>
void weight_window(
    const Problem& p, const Window& w, const Packed<A>& x, const Packed<A>& grad, A* sum) {
  constexpr int L = kLanes<A>;
  constexpr int64_t kMost = std::is_same<A, float>::value ? 8 : 4;
  const Axis &outer = p.outer, &inner = p.inner;
  const int64_t width = w.inner_end - w.inner_begin;
  const int64_t parts = ceil_div(inner.kernel, kMost);
  for (int64_t row = w.outer_begin; row < w.outer_end; ++row) {
    const A* g = grad.at(row, w.inner_begin);
    const auto rows = valid_taps(outer, row, row);
    for (int64_t o = rows.first; o < rows.second; ++o) {
      const int64_t input_row = row + o * outer.dilation - outer.pad;
      for (int64_t part = 0; part < parts; ++part) {  // as even as possible: 11 taps are 6 and 5
        const int64_t begin = inner.kernel * part / parts, end = inner.kernel * (part + 1) / parts;
        const A* from = x.at(input_row, w.inner_begin + begin * inner.dilation - inner.pad);
        weight_taps_any<A>(
            end - begin, from, x.column_step, g, grad.column_step, width, inner.dilation,
            sum + (o * inner.kernel + begin) * L);
      }
    }
  }
}

}  // namespace depthwise
}  // namespace mmattn
