// Criss-cross attention of channels-last images, line by line. Does not use torch.
//
// One task takes one line, a column or a row, of one image. It copies what it reads into dense
// panels and then multiplies small matrices on register tiles, all of it in the L2 cache:
//
//   forward   columns first: logits, their largest m and the sum l of their exponentials, and the
//             sum o of the values so weighted; rows then start from (m, l, o) and finish the
//             softmax.
//   backward  the weights are exp(logit - lse) for rows and columns alike, so each line adds its
//   part
//             to the gradients. Columns write them, rows add to them.
//
// Lines of one direction touch different outputs and are each computed by one thread: there are no
// atomics, and results do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include "scalar.h"
#include "vec.h"

namespace mmattn {
namespace criss_cross {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A register tile has kTileRows x kTileVectors sums; what is left holds a vector of each and a
// factor.
constexpr int kTileRows = 6;
constexpr int kTileVectors = kRegisters >= 32 ? 4 : 2;
constexpr int64_t kQueryBlock = 24 * kTileRows;  // queries of a line that are handled together

// How `count` numbers are cut into panels of 1 to kTileVectors vectors, as even as possible.
template <typename A>
struct Panels {
  int64_t count, vectors, panels;

  explicit Panels(int64_t n)
      : count(n), vectors(ceil_div(n, kLanes<A>)), panels(ceil_div(vectors, kTileVectors)) {}
  int64_t begin(int64_t p) const { return vectors * p / panels * kLanes<A>; }
  int64_t width(int64_t p) const { return begin(p + 1) - begin(p); }
  int64_t valid(int64_t p) const { return std::min(begin(p + 1), count) - begin(p); }
  int64_t padded() const { return vectors * kLanes<A>; }
};

// A tensor (N, C, H, W) whose channels are neighbours in memory.
template <typename S>
struct Image {
  S* data;
  int64_t n, h, w;  // steps, in numbers
};

struct Line {
  bool column;
  int64_t n, index, length;

  template <typename S>
  S* start(const Image<S>& p) const {
    return p.data + n * p.n + index * (column ? p.w : p.h);
  }
  template <typename S>
  int64_t step(const Image<S>& p) const {
    return column ? p.h : p.w;
  }
};

// Memory that a thread keeps from task to task, aligned to cache lines and handed out in parts.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(memory_); }

  void reserve(int64_t bytes) {
    used_ = 0;
    if (bytes <= size_) return;
    std::free(memory_);
    size_ = 0;
    memory_ = static_cast<char*>(std::aligned_alloc(64, size_t(bytes + 63) / 64 * 64));
    if (memory_ == nullptr) throw std::bad_alloc();
    size_ = bytes;
  }
  template <typename A>
  A* take(int64_t count) {
    A* part = reinterpret_cast<A*>(memory_ + used_);
    used_ += bytes<A>(count);
    return part;
  }
  template <typename A>
  static int64_t bytes(int64_t count) {
    return (count * int64_t(sizeof(A)) + 63) / 64 * 64;
  }

 private:
  char* memory_ = nullptr;
  int64_t size_ = 0, used_ = 0;
};

template <typename S, typename A>
inline void widen_full(const S* from, A* to) {  // one vector
  if constexpr (std::is_same<S, A>::value) {
    store(to, load(from));
  } else {
    widen_block(from, kLanes<A>, kLanes<A>, to);
  }
}

// Rows to panels: number c of row i goes to panel p, [p][i][c - begin(p)], with zeros behind the
// last.
template <typename S, typename A>
void pack_rows(const S* from, int64_t step, int64_t rows, const Panels<A>& channels, A* to) {
  constexpr int L = kLanes<A>;
  for (int64_t i = 0; i < rows; ++i, from += step) {
    for (int64_t p = 0; p < channels.panels; ++p) {
      const int64_t begin = channels.begin(p), width = channels.width(p), valid = channels.valid(p);
      A* row = to + begin * rows + i * width;
      int64_t c = 0;
      for (; c + L <= valid; c += L) widen_full(from + begin + c, row + c);
      if (c < width) widen_block(from + begin + c, int(valid - c), L, row + c);
    }
  }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MMATTN_SHUFFLE 1
#endif
#endif

#if defined(MMATTN_SHUFFLE)
// Exchanges the blocks of D x D numbers off the diagonal, for the lanes I of two rows D apart.
template <int D, typename A, size_t... I>
MMATTN_INLINE void exchange(Vec<A>& x, Vec<A>& y, std::index_sequence<I...>) {
  constexpr int L = kLanes<A>;
  const Vec<A> upper = __builtin_shufflevector(x, y, (int(I) & D ? L + int(I) - D : int(I))...);
  y = __builtin_shufflevector(x, y, (int(I) & D ? L + int(I) : int(I) + D)...);
  x = upper;
}

template <int D, typename A>
MMATTN_INLINE void exchange_all(Vec<A>* rows) {
  constexpr int L = kLanes<A>;
#pragma GCC unroll 16
  for (int r = 0; r < L; ++r) {
    if ((r & D) == 0) exchange<D, A>(rows[r], rows[r + D], std::make_index_sequence<L>());
  }
  if constexpr (D > 1) exchange_all<D / 2, A>(rows);
}
#endif

// A square of kLanes rows, `step` apart, to its transpose, rows `to_step` apart.
template <typename A>
MMATTN_INLINE void transpose_square(const A* from, int64_t step, A* to, int64_t to_step) {
  constexpr int L = kLanes<A>;
#if defined(MMATTN_SHUFFLE)
  Vec<A> rows[L];
#pragma GCC unroll 16
  for (int r = 0; r < L; ++r) rows[r] = load(from + r * step);
  exchange_all<L / 2, A>(rows);
#pragma GCC unroll 16
  for (int r = 0; r < L; ++r) store(to + r * to_step, rows[r]);
#else
  for (int r = 0; r < L; ++r) {
    for (int c = 0; c < L; ++c) to[c * to_step + r] = from[r * step + c];
  }
#endif
}

// Rows to panels of their transpose: number c of row i goes to [p][c][i - begin(p)], zeros behind.
template <typename S, typename A>
void pack_columns(const S* from, int64_t step, const Panels<A>& rows, int64_t channels, A* to) {
  constexpr int L = kLanes<A>;
  alignas(kVectorBytes) A square[L * L], turned[L * L];
  for (int64_t p = 0; p < rows.panels; ++p) {
    const int64_t begin = rows.begin(p), width = rows.width(p);
    A* panel = to + begin * channels;
    for (int64_t i = begin; i < begin + width; i += L) {
      const int count = int(std::min<int64_t>(L, rows.count - i));
      for (int64_t c = 0; c < channels; c += L) {
        const int lanes = int(std::min<int64_t>(L, channels - c));
        const S* corner = from + i * step + c;
        A* out = panel + c * width + (i - begin);
        if constexpr (std::is_same<S, A>::value) {
          if (count == L && lanes == L) {
            transpose_square(corner, step, out, width);
            continue;
          }
        }
        for (int r = 0; r < count; ++r) widen_block(corner + r * step, lanes, L, square + r * L);
        std::fill(square + count * L, square + L * L, A(0));
        transpose_square(square, L, turned, L);
        for (int r = 0; r < lanes; ++r) store(out + r * width, load(turned + r * L));
      }
    }
  }
}

// Prefetches the input of the next line into the L2 cache, a little with every tile of this one:
// loads from memory take about as long as the products, and both go on at the same time.
class Ahead {
 public:
  template <typename S>
  void add(const Line* line, const Image<const S>& p, int64_t channels) {
    if (line == nullptr || channels == 0) return;
    rows_[count_++] = {
        reinterpret_cast<const char*>(line->start(p)), line->step(p) * int64_t(sizeof(S)),
        line->length, channels * int64_t(sizeof(S))};
    lines_ += line->length * ceil_div(channels * int64_t(sizeof(S)), kCacheLine);
  }
  void spread(int64_t tiles) { rate_ = ceil_div(lines_, std::max<int64_t>(tiles, 1)); }
  void some() {
    for (int64_t left = rate_; left > 0 && at_ < count_; --left) {
      Rows& r = rows_[at_];
      __builtin_prefetch(r.data + offset_, 0, 2);
      offset_ += kCacheLine;
      if (offset_ < r.bytes) continue;
      offset_ = 0;
      r.data += r.step;
      if (--r.left == 0) ++at_;
    }
  }

 private:
  static constexpr int64_t kCacheLine = 64;
  struct Rows {
    const char* data;
    int64_t step, left, bytes;
  };
  Rows rows_[3];
  int count_ = 0, at_ = 0;
  int64_t lines_ = 0, rate_ = 0, offset_ = 0;
};

// Target of a product: row i at data + i * step; `add` to what is there, times scale[i] if given.
template <typename A>
struct Target {
  A* data;
  int64_t step;
  bool add;
  const A* scale;
  Ahead* ahead;
};

// R rows times V vectors: sum over k of a(i, k) b[k], with a(i, k) at a[i * step + k], or at
// a[k * step + i] when Turned. Only `valid` numbers of each row exist in the target.
template <typename A, int R, int V, bool Turned>
MMATTN_INLINE void multiply_tile(
    const A* a, int64_t step, int64_t depth, const A* b, int64_t valid, const Target<A>& t) {
  constexpr int L = kLanes<A>;
  Vec<A> sum[R][V] = {};
  const bool whole = valid == V * L;
  if (whole) {  // prefetched: the target arrives while the products are summed
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) __builtin_prefetch(t.data + i * t.step + v * L, 1);
    }
  }
  for (int64_t k = 0; k < depth; ++k, b += V * L) {
    Vec<A> row[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) row[v] = load(b + v * L);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const A factor = Turned ? a[k * step + i] : a[i * step + k];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[i][v] += row[v] * factor;
    }
  }
  alignas(kVectorBytes) A edge[V * L] = {};
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    A* to = t.data + i * t.step;
    A* row = whole ? to : edge;
    if (t.add) {
      if (!whole) std::memcpy(edge, to, size_t(valid) * sizeof(A));
      const A scale = t.scale != nullptr ? t.scale[i] : A(1);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[i][v] += load(row + v * L) * scale;
    }
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(row + v * L, sum[i][v]);
    if (!whole) std::memcpy(to, edge, size_t(valid) * sizeof(A));
  }
}

template <typename A, int V, bool Turned>
__attribute__((noinline)) void multiply_panel(
    int64_t rows, const A* a, int64_t step, int64_t depth, const A* b, int64_t valid, Target<A> t) {
  const int64_t a_step = Turned ? 1 : step;
  auto advance = [&](int64_t count) {
    a += count * a_step;
    t.data += count * t.step;
    if (t.scale != nullptr) t.scale += count;
  };
  for (; rows >= kTileRows; rows -= kTileRows, advance(kTileRows)) {
    if (t.ahead != nullptr) t.ahead->some();
    multiply_tile<A, kTileRows, V, Turned>(a, step, depth, b, valid, t);
  }
  switch (rows) {
    case 5: return multiply_tile<A, 5, V, Turned>(a, step, depth, b, valid, t);
    case 4: return multiply_tile<A, 4, V, Turned>(a, step, depth, b, valid, t);
    case 3: return multiply_tile<A, 3, V, Turned>(a, step, depth, b, valid, t);
    case 2: return multiply_tile<A, 2, V, Turned>(a, step, depth, b, valid, t);
    case 1: return multiply_tile<A, 1, V, Turned>(a, step, depth, b, valid, t);
    default: return;
  }
}

// A product with one panel of `width` numbers, b[k][width].
template <bool Turned, typename A>
void multiply(
    int64_t rows, const A* a, int64_t step, int64_t depth, const A* b, int64_t width, int64_t valid,
    const Target<A>& t) {
  switch (width / kLanes<A>) {
    case 1: return multiply_panel<A, 1, Turned>(rows, a, step, depth, b, valid, t);
    case 2: return multiply_panel<A, 2, Turned>(rows, a, step, depth, b, valid, t);
    default: break;
  }
  if constexpr (kTileVectors > 2) {
    if (width / kLanes<A> == 3) {
      return multiply_panel<A, 3, Turned>(rows, a, step, depth, b, valid, t);
    }
    return multiply_panel<A, 4, Turned>(rows, a, step, depth, b, valid, t);
  }
}

// x y^T, (rows, keys.padded()): x in panels of channels, y turned, in panels of keys.
template <typename A>
void multiply_scores(
    int64_t rows, const A* x, const Panels<A>& channels, const A* y, const Panels<A>& keys, A* to,
    Ahead* ahead = nullptr) {
  if (channels.count == 0) std::fill(to, to + rows * keys.padded(), A(0));
  for (int64_t g = 0; g < keys.panels; ++g) {
    const int64_t width = keys.width(g);
    for (int64_t p = 0; p < channels.panels; ++p) {
      const int64_t begin = channels.begin(p);
      multiply<false>(
          rows, x + begin * rows, channels.width(p), channels.valid(p),
          y + keys.begin(g) * channels.count + begin * width, width, width,
          Target<A>{to + keys.begin(g), keys.padded(), p > 0, nullptr, ahead});
    }
  }
}

// a b with b (depth, channels) in panels, into rows of an image.
template <bool Turned, typename A>
void multiply_panels(
    int64_t rows, const A* a, int64_t step, int64_t depth, const A* b, const Panels<A>& channels,
    const Target<A>& t) {
  for (int64_t p = 0; p < channels.panels; ++p) {
    const int64_t begin = channels.begin(p);
    multiply<Turned>(
        rows, a, step, depth, b + begin * depth, channels.width(p), channels.valid(p),
        Target<A>{t.data + begin, t.step, t.add, t.scale, t.ahead});
  }
}

template <typename A>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  using Int = int32_t;
  static constexpr int kMantissa = 23, kBias = 127, kDegree = 7;
  static constexpr float kLow = -87.3f, kHigh = 88.0f, kMagic = 12582912.0f;
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
};
template <>
struct ExpConstants<double> {
  using Int = int64_t;
  static constexpr int kMantissa = 52, kBias = 1023, kDegree = 13;
  static constexpr double kLow = -708.3, kHigh = 709.0, kMagic = 6755399441055744.0;
  static constexpr double kLn2High = 6.93145751953125e-1, kLn2Low = 1.42860682030941723212e-6;
};

// exp, to the last digit or two; 0 where the result would be subnormal, NaN stays NaN.
template <typename A>
MMATTN_INLINE Vec<A> exponential(Vec<A> x) {
  using K = ExpConstants<A>;
  typedef typename K::Int IntVec __attribute__((vector_size(kVectorBytes)));
  const IntVec vanishes = x < K::kLow;
  x = vanishes ? Vec<A>{} + K::kLow : x;
  x = x > K::kHigh ? Vec<A>{} + K::kHigh : x;
  const Vec<A> shifted = x * A(1.4426950408889634) + K::kMagic;  // its last bits are the integer
  const Vec<A> n = shifted - K::kMagic;
  const Vec<A> r = x - n * K::kLn2High - n * K::kLn2Low;
  Vec<A> sum = Vec<A>{} + A(1);
  A factor[K::kDegree + 1] = {1};
  for (int i = 1; i <= K::kDegree; ++i) factor[i] = factor[i - 1] / A(i);  // 1 / i!
  sum = Vec<A>{} + factor[K::kDegree];
#pragma GCC unroll 16
  for (int i = K::kDegree - 1; i >= 0; --i) sum = sum * r + factor[i];
  const Vec<A> magic = Vec<A>{} + K::kMagic;
  IntVec bits, zero;
  std::memcpy(&bits, &shifted, sizeof(bits));
  std::memcpy(&zero, &magic, sizeof(zero));
  bits = (bits - zero + K::kBias) << K::kMantissa;
  Vec<A> power;
  std::memcpy(&power, &bits, sizeof(power));
  return vanishes ? Vec<A>{} : sum * power;
}

template <typename A>
inline A sum_of(Vec<A> v) {
  A total = 0;
  for (int i = 0; i < kLanes<A>; ++i) total += v[i];
  return total;
}

// Turns logits into exp(logit - max), max being the largest of them and `least`; returns max and
// the sum.
template <typename A>
std::pair<A, A> exponentiate(A* row, int64_t count, A least) {
  constexpr int L = kLanes<A>;
  Vec<A> most = Vec<A>{} + least;
  for (int64_t j = 0; j < count; j += L) {
    const Vec<A> v = load(row + j);
    most = v > most ? v : most;
  }
  A shift = least;
  for (int i = 0; i < L; ++i) shift = std::max(shift, most[i]);
  Vec<A> total{};
  for (int64_t j = 0; j < count; j += L) {
    const Vec<A> e = exponential<A>(load(row + j) - shift);
    store(row + j, e);
    total += e;
  }
  return {shift, sum_of<A>(total)};
}

template <typename S, typename A = Compute<S>>
A dot(const S* x, const S* y, int64_t count) {
  constexpr int L = kLanes<A>;
  Vec<A> even{}, odd{};
  int64_t c = 0;
  if constexpr (std::is_same<S, A>::value) {
    for (; c + 2 * L <= count; c += 2 * L) {
      even += load(x + c) * load(y + c);
      odd += load(x + c + L) * load(y + c + L);
    }
  }
  A total = sum_of<A>(even + odd);
  for (; c < count; ++c) total += A(widen(x[c])) * A(widen(y[c]));
  return total;
}

struct Sizes {
  int64_t query_channels, value_channels;
};

inline int64_t query_block(int64_t length) {
  return std::max<int64_t>(
      1, ceil_div(length, std::max<int64_t>(1, ceil_div(length, kQueryBlock))));
}

// The position itself belongs to the row; behind the last key there is nothing.
template <typename A>
void mask_scores(A* scores, int64_t rows, const Panels<A>& keys, int64_t first, bool itself) {
  constexpr A kNever = -std::numeric_limits<A>::infinity();
  for (int64_t i = 0; i < rows; ++i) {
    A* row = scores + i * keys.padded();
    std::fill(row + keys.count, row + keys.padded(), kNever);
    if (!itself) row[first + i] = kNever;
  }
}

template <typename S>
struct Forward {
  using A = Compute<S>;
  Sizes sizes;
  Image<const S> query, key, value;
  Image<A> out, lse;      // one channel: lse
  Image<A> shift, total;  // of the columns; one channel each

  // Columns leave sums that are not divided yet; rows take them up if there are any (`merge`).
  void run(const Line& line, const Line* next, bool merge, Scratch& scratch) const {
    const Panels<A> keys(line.length), qc(sizes.query_channels), vc(sizes.value_channels);
    const int64_t block = query_block(line.length);
    scratch.reserve(
        Scratch::bytes<A>(keys.padded() * qc.count) + Scratch::bytes<A>(keys.count * vc.padded()) +
        Scratch::bytes<A>(block * qc.padded()) + Scratch::bytes<A>(block * keys.padded()) +
        Scratch::bytes<A>(block));
    A* k = scratch.take<A>(keys.padded() * qc.count);
    A* v = scratch.take<A>(keys.count * vc.padded());
    A* q = scratch.take<A>(block * qc.padded());
    A* scores = scratch.take<A>(block * keys.padded());
    A* scale = scratch.take<A>(block);
    Ahead ahead;
    ahead.add(next, value, vc.count);
    ahead.spread(line.length / kTileRows * vc.panels);
    pack_columns(line.start(key), line.step(key), keys, qc.count, k);
    pack_rows(line.start(value), line.step(value), keys.count, vc, v);
    for (int64_t first = 0; first < line.length; first += block) {
      const int64_t rows = std::min(block, line.length - first);
      pack_rows(line.start(query) + first * line.step(query), line.step(query), rows, qc, q);
      multiply_scores(rows, q, qc, k, keys, scores);
      mask_scores(scores, rows, keys, first, !line.column);
      for (int64_t i = 0; i < rows; ++i) {
        weigh(line, first + i, merge, scores + i * keys.padded(), keys.padded(), scale + i);
      }
      multiply_panels<false>(
          rows, scores, keys.padded(), keys.count, v, vc,
          Target<A>{
              line.start(out) + first * line.step(out), line.step(out), merge,
              merge ? scale : nullptr, &ahead});
    }
  }

  // Logits of one query to weights; `scale` is for the sums that the column left.
  void weigh(const Line& line, int64_t i, bool merge, A* row, int64_t count, A* scale) const {
    A& column_shift = line.start(shift)[i * line.step(shift)];
    A& column_total = line.start(total)[i * line.step(total)];
    const A least = merge ? column_shift : std::numeric_limits<A>::lowest();
    const auto [most, sum] = exponentiate(row, count, least);
    if (line.column) {
      column_shift = most;
      column_total = sum;
      return;
    }
    const A rescale = merge ? std::exp(column_shift - most) : A(0);
    const A all = sum + (merge ? column_total * rescale : A(0));
    line.start(lse)[i * line.step(lse)] = most + std::log(all);
    *scale = rescale / all;
    const A inverse = A(1) / all;
    for (int64_t j = 0; j < count; j += kLanes<A>) store(row + j, load(row + j) * inverse);
  }
};

template <typename S>
struct Backward {
  using A = Compute<S>;
  Sizes sizes;
  Image<const S> query, key, value, out, grad;
  Image<const A> lse, grad_lse;  // grad_lse may be null
  Image<A> delta;                // sum over the channels of grad x out, less grad_lse
  Image<A> grad_query, grad_key, grad_value;

  // The first direction writes the gradients and delta, the second adds to them.
  void run(const Line& line, const Line* next, bool add, Scratch& scratch) const {
    const Panels<A> keys(line.length), qc(sizes.query_channels), vc(sizes.value_channels);
    const int64_t block = query_block(line.length), length = line.length;
    scratch.reserve(
        Scratch::bytes<A>(keys.padded() * qc.count) + Scratch::bytes<A>(length * qc.padded()) +
        Scratch::bytes<A>(keys.padded() * vc.count) + Scratch::bytes<A>(block * qc.padded()) +
        Scratch::bytes<A>(block * vc.padded()) + 2 * Scratch::bytes<A>(block * keys.padded()));
    A* k_turned = scratch.take<A>(keys.padded() * qc.count);
    A* k = scratch.take<A>(length * qc.padded());
    A* v_turned = scratch.take<A>(keys.padded() * vc.count);
    A* q = scratch.take<A>(block * qc.padded());
    A* g = scratch.take<A>(block * vc.padded());
    A* weights = scratch.take<A>(block * keys.padded());
    A* grads = scratch.take<A>(block * keys.padded());
    Ahead ahead;
    ahead.add(next, value, vc.count);
    ahead.add(next, grad, vc.count);
    if (!add) ahead.add(next, out, vc.count);
    ahead.spread(length / kTileRows * vc.panels * (1 + keys.panels));
    pack_columns(line.start(key), line.step(key), keys, qc.count, k_turned);
    pack_rows(line.start(key), line.step(key), length, qc, k);
    pack_columns(line.start(value), line.step(value), keys, vc.count, v_turned);
    for (int64_t first = 0; first < length; first += block) {
      const int64_t rows = std::min(block, length - first);
      pack_rows(line.start(query) + first * line.step(query), line.step(query), rows, qc, q);
      pack_rows(line.start(grad) + first * line.step(grad), line.step(grad), rows, vc, g);
      multiply_scores(rows, q, qc, k_turned, keys, weights);
      mask_scores(weights, rows, keys, first, !line.column);
      multiply_scores(rows, g, vc, v_turned, keys, grads, &ahead);
      for (int64_t i = 0; i < rows; ++i) {
        differentiate(
            line, first + i, add, weights + i * keys.padded(), grads + i * keys.padded(),
            keys.padded());
      }
      const bool more = add || first > 0;
      multiply_panels<true>(
          length, weights, keys.padded(), rows, g, vc,
          Target<A>{line.start(grad_value), line.step(grad_value), more, nullptr, &ahead});
      multiply_panels<true>(
          length, grads, keys.padded(), rows, q, qc,
          Target<A>{line.start(grad_key), line.step(grad_key), more, nullptr, nullptr});
      multiply_panels<false>(
          rows, grads, keys.padded(), length, k, qc,
          Target<A>{
              line.start(grad_query) + first * line.step(grad_query), line.step(grad_query), add,
              nullptr, nullptr});
    }
  }

  // Logits of one query to weights, and gradients of its weights to gradients of its logits.
  void differentiate(
      const Line& line, int64_t i, bool add, A* weights, A* grads, int64_t count) const {
    A& d = line.start(delta)[i * line.step(delta)];
    if (!add) {
      d = dot<S>(
          line.start(grad) + i * line.step(grad), line.start(out) + i * line.step(out),
          sizes.value_channels);
      if (grad_lse.data != nullptr) d -= line.start(grad_lse)[i * line.step(grad_lse)];
    }
    const A shift = line.start(lse)[i * line.step(lse)], offset = d;
    for (int64_t j = 0; j < count; j += kLanes<A>) {
      const Vec<A> w = exponential<A>(load(weights + j) - shift);
      store(weights + j, w);
      store(grads + j, w * (load(grads + j) - offset));
    }
  }
};

}  // namespace criss_cross
}  // namespace mmattn
