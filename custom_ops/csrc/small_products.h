// Products of small matrices on register tiles, for attention over short sequences. Does not use
// torch.
//
// One factor is packed into panels: 1 to kTileVectors vectors of neighbouring columns, row after
// row, with zeros behind the last column. All that a task multiplies should fit into the L2 cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "scalar.h"
#include "vec.h"

namespace mmattn {

// A register tile has kTileRows x kTileVectors sums; what is left holds a vector of each and a
// factor.
constexpr int kTileRows = 6;
constexpr int kTileVectors = kRegisters >= 32 ? 4 : 2;

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

// Numbers c, ..., c + lanes - 1 of `count` rows from the i-th on, anywhere in memory, to rows of
// their transpose, `to_step` apart; zeros up to a whole vector.
template <typename A, typename Row>
MMATTN_INLINE void turn_square(
    const Row& row_of, int64_t i, int count, int64_t c, int lanes, A* to, int64_t to_step) {
  constexpr int L = kLanes<A>;
  alignas(kVectorBytes) A square[L * L], turned[L * L];
  for (int r = 0; r < count; ++r) {
    if (lanes == L) {
      widen_full(row_of(i + r) + c, square + r * L);
    } else {
      widen_block(row_of(i + r) + c, lanes, L, square + r * L);
    }
  }
  std::fill(square + count * L, square + L * L, A(0));
  if (lanes == L) {
    transpose_square(square, L, to, to_step);
  } else {
    transpose_square(square, L, turned, L);
    for (int r = 0; r < lanes; ++r) store(to + r * to_step, load(turned + r * L));
  }
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

// Prefetches the rows of the next task into the L2 cache, a little with every tile of this one:
// loads from memory take about as long as the products, and both go on at the same time.
class Ahead {
 public:
  template <typename S>
  void add(const S* from, int64_t step, int64_t rows, int64_t channels) {
    if (channels == 0) return;
    const int64_t size = sizeof(S);
    rows_[count_++] = {reinterpret_cast<const char*>(from), step * size, rows, channels * size};
    lines_ += rows * ceil_div(channels * size, kCacheLine);
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

}  // namespace mmattn
