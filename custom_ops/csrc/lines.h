// Sums and maxima over lines of neighbouring numbers: a plane of a contiguous image, or the
// channels of one pixel of a channels-last one. Stored numbers are widened in short chunks, so that
// the arithmetic is compiled for float and double alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "scalar.h"
#include "vec.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace mmattn {

constexpr int64_t kChunk = 256;  // numbers of a line that are handled at once: they stay in L1

// The line itself, or a widened copy in `scratch`.
template <typename S>
inline const Compute<S>* widened(const S* line, int64_t count, Compute<S>* scratch) {
  if constexpr (std::is_same<S, Compute<S>>::value) {
    return line;
  } else {
    for (int64_t i = 0; i < count; ++i) scratch[i] = widen(line[i]);
    return scratch;
  }
}

struct Plus {
  template <typename T>
  T operator()(T a, T b) const {
    return a + b;
  }
};

struct Larger {  // the second where one is a NaN
  template <typename T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// Every lane together with the one that is `kApart` lanes away.
template <int kApart, typename V, size_t... kLane>
inline V exchanged(V v, std::index_sequence<kLane...>) {
  return __builtin_shufflevector(v, v, (kLane ^ kApart)...);
}

// All lanes in one number.
template <typename A, int kApart = kLanes<A> / 2, typename F>
inline A fold(Vec<A> v, const F& f) {
  v = f(v, exchanged<kApart>(v, std::make_index_sequence<kLanes<A>>()));
  if constexpr (kApart > 1) {
    return fold<A, kApart / 2>(v, f);
  } else {
    return v[0];
  }
}

// Bit j is set where lane j has the value.
template <typename A>
inline uint32_t lanes_equal(Vec<A> v, A value) {
#if defined(__AVX512F__)
  if constexpr (sizeof(A) == 4) {
    return _mm512_cmp_ps_mask(__m512(v), _mm512_set1_ps(value), _CMP_EQ_OQ);
  } else {
    return _mm512_cmp_pd_mask(__m512d(v), _mm512_set1_pd(value), _CMP_EQ_OQ);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(A) == 4) {
    const __m256 same = _mm256_cmp_ps(__m256(v), _mm256_set1_ps(value), _CMP_EQ_OQ);
    return uint32_t(_mm256_movemask_ps(same));
  } else {
    const __m256d same = _mm256_cmp_pd(__m256d(v), _mm256_set1_pd(value), _CMP_EQ_OQ);
    return uint32_t(_mm256_movemask_pd(same));
  }
#else
  uint32_t bits = 0;
  for (int j = 0; j < kLanes<A>; ++j) bits |= uint32_t(v[j] == value) << j;
  return bits;
#endif
}

template <typename A>
inline A sum_products(const A* x, const A* y, int64_t count) {
  constexpr int L = kLanes<A>;
  Vec<A> lanes{};
  int64_t i = 0;
  for (; i + L <= count; i += L) lanes += load<A>(x + i) * load<A>(y + i);
  A total = fold<A>(lanes, Plus());
  for (; i < count; ++i) total += x[i] * y[i];
  return total;
}

template <typename A>
constexpr A kLeast = -std::numeric_limits<A>::infinity();

// Sum and first maximum over consecutive pieces; a NaN counts as the largest.
template <typename A>
struct Total {
  double sum = 0;
  A maximum = kLeast<A>;
  int64_t index = 0;

  void add(A piece_sum, A piece_maximum, int64_t piece_index) {
    sum += piece_sum;
    const bool first_nan = piece_maximum != piece_maximum && maximum == maximum;
    if (piece_maximum > maximum || first_nan) {
      maximum = piece_maximum;
      index = piece_index;
    }
  }

  // The next `count` numbers, x[i] gate[i] or x[i]; the first of them is the `begin`th.
  template <bool kGated>
  void add_line(const A* x, const A* gate, int64_t count, int64_t begin) {
    constexpr int L = kLanes<A>, kUnroll = 4;
    auto values = [&](int64_t at) -> Vec<A> {
      if constexpr (kGated) return load<A>(x + at) * load<A>(gate + at);
      return load<A>(x + at);
    };
    auto value = [&](int64_t at) -> A { return kGated ? x[at] * gate[at] : x[at]; };
    Vec<A> sums[kUnroll], maxima[kUnroll];
    for (int u = 0; u < kUnroll; ++u) {
      sums[u] = Vec<A>{};
      maxima[u] = Vec<A>{} + kLeast<A>;
    }
    int64_t i = 0;
    for (; i + kUnroll * L <= count; i += kUnroll * L) {
#pragma GCC unroll 4
      for (int u = 0; u < kUnroll; ++u) {
        const Vec<A> v = values(i + u * L);
        sums[u] += v;
        maxima[u] = Larger()(v, maxima[u]);
      }
    }
    for (; i + L <= count; i += L) {
      const Vec<A> v = values(i);
      sums[0] += v;
      maxima[0] = Larger()(v, maxima[0]);
    }
    A line_sum = fold<A>((sums[0] + sums[1]) + (sums[2] + sums[3]), Plus());
    const Vec<A> largest = Larger()(Larger()(maxima[0], maxima[1]), Larger()(maxima[2], maxima[3]));
    A line_maximum = fold<A>(largest, Larger());
    for (; i < count; ++i) {
      line_sum += value(i);
      line_maximum = Larger()(value(i), line_maximum);
    }
    sum += line_sum;
    if (line_sum != line_sum &&
        maximum == maximum) {  // perhaps a NaN, which comparisons do not see
      for (i = 0; i < count; ++i) {
        if (value(i) != value(i)) {
          maximum = value(i);
          index = begin + i;
          return;
        }
      }
    }
    if (!(line_maximum > maximum)) return;
    maximum = line_maximum;
    for (i = 0; i + L <= count; i += L) {
      if (const uint32_t bits = lanes_equal<A>(values(i), maximum)) {
        index = begin + i + __builtin_ctz(bits);
        return;
      }
    }
    while (value(i) != maximum) ++i;
    index = begin + i;
  }
};

// An integer as wide as a number, so that both have as many lanes.
template <typename A>
using Integer = typename std::conditional<sizeof(A) == 4, int32_t, int64_t>::type;

// Sums and maxima of many lines, place by place. NaN have to be looked for where a sum is NaN.
template <typename A>
struct Accumulators {
  A *sum, *maximum;
  Integer<A>* index;

  void clear(int64_t count) const {
    std::fill(sum, sum + count, A(0));
    std::fill(maximum, maximum + count, kLeast<A>);
    std::fill(index, index + count, Integer<A>(0));
  }

  // Lines of x[i] scale[line], `step` apart, of which the first is the `position`th.
  template <int kLines, bool kScaled>
  void add(const A* x, int64_t step, const A* scale, Integer<A> position, int64_t count) const {
    constexpr int L = kLanes<A>;
    using I = Integer<A>;
    int64_t i = 0;
    for (; i + L <= count; i += L) {
      Vec<A> s = load<A>(sum + i), m = load<A>(maximum + i);
      Vec<I> where = load<I>(index + i);
#pragma GCC unroll 8
      for (int line = 0; line < kLines; ++line) {
        Vec<A> value = load<A>(x + line * step + i);
        if constexpr (kScaled) value *= scale[line];
        s += value;
        const auto larger = value > m;
        m = larger ? value : m;
        where = larger ? Vec<I>{} + I(position + line) : where;
      }
      store<A>(sum + i, s);
      store<A>(maximum + i, m);
      store<I>(index + i, where);
    }
    for (; i < count; ++i) {
      for (int line = 0; line < kLines; ++line) {
        const A value = kScaled ? x[line * step + i] * scale[line] : x[line * step + i];
        sum[i] += value;
        if (value > maximum[i]) {
          maximum[i] = value;
          index[i] = I(position + line);
        }
      }
    }
  }
};

}  // namespace mmattn
