// Packing of tensors into the layouts that the kernels read, and back. S is the stored type, A the
// type of sums.
#pragma once

#include <cstdlib>
#include <cstring>
#include <new>

#include "sampling.h"
#include "scalar.h"

namespace mmattn {
namespace deform {

// Uninitialised memory, aligned to a cache line.
template <typename A>
class Buffer {
 public:
  explicit Buffer(int64_t count) {
    const size_t bytes = (size_t(std::max<int64_t>(count, 1)) * sizeof(A) + 63) / 64 * 64;
    data_ = static_cast<A*>(std::aligned_alloc(64, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  Buffer(Buffer&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  A* get() const { return data_; }

 private:
  A* data_;
};

// Packs one row of an image into pixels whose channels lie beside each other.
template <typename S, typename A = Compute<S>>
void pack_row(const Problem& p, const S* from, int64_t c_step, int64_t w_step, A* to) {
  constexpr int64_t kBlock = 16;  // channels that are read at the same time when they are far apart
  if (c_step == 1) {
    for (int64_t w = 0; w < p.width; ++w) {
      for (int64_t c = 0; c < p.channels; ++c) to[w * p.channels + c] = widen(from[w * w_step + c]);
    }
    return;
  }
  for (int64_t begin = 0; begin < p.channels; begin += kBlock) {
    const int64_t end = std::min(p.channels, begin + kBlock);
    for (int64_t w = 0; w < p.width; ++w) {
      for (int64_t c = begin; c < end; ++c) {
        to[w * p.channels + c] = widen(from[c * c_step + w * w_step]);
      }
    }
  }
}

// Unpacks some pixels whose channels lie beside each other to `to[pixel * pixel_step + channel *
// c_step]`.
template <typename S, typename A = Compute<S>>
void unpack_pixels(
    const A* from, int64_t pixels, int64_t channels, S* to, int64_t pixel_step, int64_t c_step) {
  constexpr int64_t kBlock = 16;
  for (int64_t begin = 0; begin < pixels; begin += kBlock) {
    const int64_t end = std::min(pixels, begin + kBlock);
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t k = begin; k < end; ++k) {
        narrow(from[k * channels + c], to[k * pixel_step + c * c_step]);
      }
    }
  }
}

// The weight (out, in / groups, kh, kw), dense, as panels of outputs:
// [group][tap][panel][in][lane].
template <typename A>
int64_t weight_panels_size(const Problem& p) {
  return panels<A>(p.group_out()) * p.group_in() * kPanel<A>;  // of a group and tap
}

template <typename S, typename A = Compute<S>>
void pack_weight(const Problem& p, const S* weight, int64_t group, int64_t panel, A* packed) {
  constexpr int64_t P = kPanel<A>;
  const int64_t first = panel * P, lanes = std::min(P, p.group_out() - first);
  const S* from = weight + (group * p.group_out() + first) * p.group_in() * p.taps();
  for (int64_t c = 0; c < p.group_in(); ++c) {
    for (int64_t tap = 0; tap < p.taps(); ++tap) {
      A* to = packed + (group * p.taps() + tap) * weight_panels_size<A>(p) +
          (panel * p.group_in() + c) * P;
      const S* at = from + c * p.taps() + tap;
      for (int64_t l = 0; l < P; ++l) {
        to[l] = l < lanes ? A(widen(at[l * p.group_in() * p.taps()])) : A(0);
      }
    }
  }
}

// The same of a span, as panels of inputs: [tap][panel][out][lane].
template <typename S, typename A = Compute<S>>
void pack_weight_transposed(const Problem& p, const S* weight, const Span& span, A* packed) {
  constexpr int64_t P = kPanel<A>;
  const int64_t first = span.begin - span.group * p.group_in();
  for (int64_t tap = 0; tap < p.taps(); ++tap) {
    for (int64_t panel = 0; panel < panels<A>(span.width()); ++panel) {
      const int64_t lanes = std::min(P, span.width() - panel * P);
      for (int64_t o = 0; o < p.group_out(); ++o, packed += P) {
        const S* from = weight +
            ((span.group * p.group_out() + o) * p.group_in() + first + panel * P) * p.taps() + tap;
        for (int64_t l = 0; l < P; ++l) packed[l] = l < lanes ? A(widen(from[l * p.taps()])) : A(0);
      }
    }
  }
}

// The output gradient of a tile, as panels of outputs: [group][panel][pixel][lane].
template <typename A>
int64_t grad_tile_size(const Problem& p) {
  return p.groups * panels<A>(p.group_out()) * kTilePixels * kPanel<A>;
}

template <typename S, typename A = Compute<S>>
void pack_grad(const Problem& p, const Strided<S>& grad, int64_t n, int64_t tile, A* packed) {
  constexpr int64_t P = kPanel<A>;
  const int64_t first = tile * kTilePixels, count = std::min(kTilePixels, p.pixels() - first);
  for (int64_t group = 0; group < p.groups; ++group) {
    for (int64_t panel = 0; panel < panels<A>(p.group_out()); ++panel, packed += kTilePixels * P) {
      const int64_t lanes = std::min(P, p.group_out() - panel * P);
      const S* from = grad.data + n * grad.n + (group * p.group_out() + panel * P) * grad.c;
      int64_t h = first / p.out_width, w = first % p.out_width;
      for (int64_t k = 0; k < count; ++k) {
        const S* at = from + h * grad.h + w * grad.w;
        for (int64_t l = 0; l < lanes; ++l) packed[k * P + l] = widen(at[l * grad.c]);
        for (int64_t l = lanes; l < P; ++l) packed[k * P + l] = A(0);
        if (++w == p.out_width) w = 0, ++h;
      }
      std::fill(packed + count * P, packed + kTilePixels * P, A(0));
    }
  }
}

}  // namespace deform
}  // namespace mmattn
