// Stored numbers and the type they are computed in: 16-bit floats are widened to float.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace mmattn {

struct bfloat16 {
  uint16_t bits;
};

struct float16 {
  uint16_t bits;
};

template <typename S>
struct ComputeType {
  using type = S;
};
template <>
struct ComputeType<bfloat16> {
  using type = float;
};
template <>
struct ComputeType<float16> {
  using type = float;
};
template <typename S>
using Compute = typename ComputeType<S>::type;

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint32_t to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(bfloat16 value) { return from_bits(uint32_t(value.bits) << 16); }
inline float widen(float16 value) {
#if defined(__F16C__)
  return _cvtsh_ss(value.bits);
#else
  const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16;
  const uint32_t rest = value.bits & 0x7fffu;
  if (rest >= 0x7c00u) return from_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  // The exponent is re-biased by a product, which also normalises subnormal numbers.
  return from_bits(sign | to_bits(from_bits(rest << 13) * from_bits(0x77800000u)));
#endif
}

inline void narrow(float value, float& out) { out = value; }
inline void narrow(double value, double& out) { out = value; }
inline void narrow(float value, bfloat16& out) {
  const uint32_t bits = to_bits(value);
  const uint32_t rounded =
      (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;  // to nearest, ties to even
  out.bits = (bits & 0x7fffffffu) > 0x7f800000u ? uint16_t(0x7fc0u) : uint16_t(rounded);
}
inline void narrow(float value, float16& out) {
#if defined(__F16C__)
  out.bits = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
#else
  const uint32_t bits = to_bits(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t rest = bits & 0x7fffffffu;
  uint32_t half;
  if (rest > 0x7f800000u) {
    half = 0x7e00u;
  } else if (rest >= 0x477ff000u) {
    half = 0x7c00u;
  } else if (rest < 0x38800000u) {  // subnormal: the sum shifts and rounds the mantissa
    half = to_bits(from_bits(rest) + from_bits(0x3f000000u)) - 0x3f000000u;
  } else {
    half = (rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  }
  out.bits = uint16_t(sign | half);
#endif
}

// Fills `lanes` numbers from `count` stored ones and zeros.
template <typename S>
inline void widen_block(const S* from, int count, int lanes, Compute<S>* to) {
  for (int i = 0; i < count; ++i) to[i] = widen(from[i]);
  for (int i = count; i < lanes; ++i) to[i] = Compute<S>(0);
}

template <typename S>
inline void narrow_block(const Compute<S>* from, int count, S* to) {
  for (int i = 0; i < count; ++i) narrow(from[i], to[i]);
}

}  // namespace mmattn
