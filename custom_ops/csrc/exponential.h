// The exponential of whole registers, and the softmax of rows. Does not use torch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "vec.h"

namespace mmattn {

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

}  // namespace mmattn
