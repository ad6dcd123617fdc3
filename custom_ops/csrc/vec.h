// Registers as values: Vec<float> is one SIMD register of the instruction set that is compiled for.
// Arithmetic is written with plain operators (GCC's and Clang's vector extension).
#pragma once

#include <cstdint>
#include <cstring>

namespace mmattn {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kRegisters = 16;
#else
constexpr int kVectorBytes = 16;
constexpr int kRegisters = 16;
#endif

template <typename T>
struct VecOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};

template <typename T>
using Vec = typename VecOf<T>::type;

template <typename T>
constexpr int kLanes = kVectorBytes / sizeof(T);

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <typename T>
inline Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

template <typename T>
inline void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof(v));
}

}  // namespace mmattn

#define MMATTN_INLINE inline __attribute__((always_inline))
