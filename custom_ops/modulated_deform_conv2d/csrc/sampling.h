// Sampling points of a deformable kernel, and bilinear reading and its gradient for one tap of a
// tile of output pixels. Coordinates and sums have the type A, float or double.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "product.h"

namespace mmattn {
namespace deform {

struct Problem {
  int64_t batch, channels, height, width;
  int64_t out_channels, out_height, out_width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int64_t groups, deform_groups;

  int64_t taps() const { return kernel_h * kernel_w; }
  int64_t pixels() const { return out_height * out_width; }
  int64_t tiles() const { return ceil_div(pixels(), kTilePixels); }
  int64_t group_in() const { return channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
  int64_t deform_in() const { return channels / deform_groups; }
};

// A tensor with four dimensions as it lies in memory.
template <typename A>
struct Strided {
  const A* data = nullptr;
  int64_t n = 0, c = 0, h = 0, w = 0;
};

// Channels that share group and deformable group.
struct Span {
  int64_t begin, end, group, deform_group;

  int64_t width() const { return end - begin; }
};

// Splits the channels [begin, end) into spans of at most `most` channels.
template <typename F>
void for_spans(const Problem& p, int64_t begin, int64_t end, int64_t most, F&& f) {
  while (begin < end) {
    const int64_t group = begin / p.group_in(), deform_group = begin / p.deform_in();
    const int64_t border = std::min((group + 1) * p.group_in(), (deform_group + 1) * p.deform_in());
    const int64_t next = std::min({end, border, begin + most});
    f(Span{begin, next, group, deform_group});
    begin = next;
  }
}

// One output pixel of one tap: its four corners as pixels of the input (-1: outside, where all is
// 0) and what the gradients need.
template <typename A>
struct Sample {
  int64_t corner[4];  // top left, top right, bottom left, bottom right
  A weight[4];        // bilinear weights times the mask
  A down, right;      // distances of the point to the top left corner
  A mask;
  bool inside;
};

template <typename A>
struct Offsets {
  Strided<A> offset, mask;  // the mask has null data where none is given
};

// Samples of the tile's pixels, which begin at `first`.
template <typename A>
void locate(
    const Problem& p, const Offsets<A>& o, int64_t n, int64_t deform_group, int64_t tap,
    int64_t first, int64_t count, Sample<A>* samples) {
  const int64_t i = tap / p.kernel_w, j = tap % p.kernel_w;
  const int64_t channel = deform_group * p.taps() + tap;
  const A* dy = o.offset.data + n * o.offset.n + 2 * channel * o.offset.c;
  const A* dx = dy + o.offset.c;
  const A* mask = o.mask.data ? o.mask.data + n * o.mask.n + channel * o.mask.c : nullptr;
  int64_t h = first / p.out_width, w = first % p.out_width;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t at = h * o.offset.h + w * o.offset.w;
    const A y = A(h * p.stride_h - p.pad_h + i * p.dilation_h) + dy[at];
    const A x = A(w * p.stride_w - p.pad_w + j * p.dilation_w) + dx[at];
    Sample<A>& s = samples[k];
    s.mask = mask ? mask[h * o.mask.h + w * o.mask.w] : A(1);
    s.inside = y > A(-1) && x > A(-1) && y < A(p.height) && x < A(p.width);
    if (s.inside) {
      const A top_row = std::floor(y), left_column = std::floor(x);
      const int64_t top = int64_t(top_row), left = int64_t(left_column);
      s.down = y - top_row;
      s.right = x - left_column;
      const A up = 1 - s.down, back = 1 - s.right;
      const bool has_top = top >= 0, has_bottom = top + 1 < p.height;
      const bool has_left = left >= 0, has_right = left + 1 < p.width;
      const int64_t corner = top * p.width + left;
      s.corner[0] = has_top && has_left ? corner : -1;
      s.corner[1] = has_top && has_right ? corner + 1 : -1;
      s.corner[2] = has_bottom && has_left ? corner + p.width : -1;
      s.corner[3] = has_bottom && has_right ? corner + p.width + 1 : -1;
      s.weight[0] = up * back * s.mask;
      s.weight[1] = up * s.right * s.mask;
      s.weight[2] = s.down * back * s.mask;
      s.weight[3] = s.down * s.right * s.mask;
    } else {
      // A NaN offset must not pass for a point outside.
      const bool lost = y != y || x != x;
      s.down = s.right = A(0);
      for (int c = 0; c < 4; ++c) {
        s.corner[c] = -1;
        s.weight[c] = lost ? std::numeric_limits<A>::quiet_NaN() : A(0);
      }
    }
    if (++w == p.out_width) w = 0, ++h;
  }
}

// Position of a channel of a pixel in the panels of a tile.
template <typename A>
MMATTN_INLINE int64_t in_panel(int64_t channel, int64_t row) {
  return (channel / kPanel<A> * kTilePixels + row) * kPanel<A> + channel % kPanel<A>;
}

// Reads the span's channels at the samples: pixel k to row k of panels whose channel 0 is `origin`.
// `x` is the image, dense, a pixel's channels beside each other; `nothing` is as many zeros.
template <typename A>
void gather(
    const Problem& p, const A* x, const A* nothing, const Span& span, int64_t origin,
    const Sample<A>* samples, int64_t count, A* columns) {
  constexpr int64_t L = kLanes<A>;
  const int64_t width = span.width(), base = span.begin - origin;
  const int64_t vectors =
      base % L == 0 ? width / L * L : 0;  // vectors that do not cross a panel's border
  for (int64_t k = 0; k < count; ++k) {
    const Sample<A>& s = samples[k];
    const A* q[4];
    for (int c = 0; c < 4; ++c) {
      q[c] = s.corner[c] < 0 ? nothing : x + s.corner[c] * p.channels + span.begin;
    }
    for (int64_t i = 0; i < vectors; i += L) {
      const Vec<A> value = s.weight[0] * load<A>(q[0] + i) + s.weight[1] * load<A>(q[1] + i) +
          s.weight[2] * load<A>(q[2] + i) + s.weight[3] * load<A>(q[3] + i);
      store<A>(columns + in_panel<A>(base + i, k), value);
    }
    for (int64_t i = vectors; i < width; ++i) {
      columns[in_panel<A>(base + i, k)] = s.weight[0] * q[0][i] + s.weight[1] * q[1][i] +
          s.weight[2] * q[2][i] + s.weight[3] * q[3][i];
    }
  }
}

template <typename A>
MMATTN_INLINE A add_up(Vec<A> v) {
  A total(0);
  for (int i = 0; i < kLanes<A>; ++i) total += v[i];
  return total;
}

// From the gradient of the numbers that `gather` wrote (panels whose channel 0 is the span's
// first): adds to the gradient of the image unless that is null, and computes the span's part of
// the gradients of offset and mask.
template <typename A>
void scatter(
    const Problem& p, const A* x, A* grad_x, const A* nothing, A* sink, const Span& span,
    const Sample<A>* samples, int64_t count, const A* columns, A* grad_y, A* grad_right,
    A* grad_mask) {
  constexpr int64_t L = kLanes<A>;
  const int64_t width = span.width(), vectors = width / L * L;
  for (int64_t k = 0; k < count; ++k) {
    const Sample<A>& s = samples[k];
    const A* q[4];
    A* to[4];
    for (int c = 0; c < 4; ++c) {
      const int64_t at = s.corner[c] * p.channels + span.begin;
      q[c] = s.corner[c] < 0 ? nothing : x + at;
      to[c] = s.corner[c] < 0 || grad_x == nullptr ? sink : grad_x + at;
    }
    A dot[4] = {};  // products of the gradient with each corner
    Vec<A> sums[4] = {};
    for (int64_t i = 0; i < vectors; i += L) {
      const Vec<A> g = load<A>(columns + in_panel<A>(i, k));
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) sums[c] += g * load<A>(q[c] + i);
      if (grad_x == nullptr) continue;
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) store<A>(to[c] + i, load<A>(to[c] + i) + s.weight[c] * g);
    }
    for (int c = 0; c < 4; ++c) dot[c] = add_up<A>(sums[c]);
    for (int64_t i = vectors; i < width; ++i) {
      const A g = columns[in_panel<A>(i, k)];
      for (int c = 0; c < 4; ++c) {
        dot[c] += g * q[c][i];
        if (grad_x != nullptr) to[c][i] += s.weight[c] * g;
      }
    }
    if (grad_y == nullptr) continue;
    if (!s.inside) {
      // 0, or NaN where the offset is NaN.
      grad_y[k] = grad_right[k] = grad_mask[k] = s.weight[0];
      continue;
    }
    const A up = 1 - s.down, back = 1 - s.right;
    grad_y[k] = s.mask * (back * (dot[2] - dot[0]) + s.right * (dot[3] - dot[1]));
    grad_right[k] = s.mask * (up * (dot[1] - dot[0]) + s.down * (dot[3] - dot[2]));
    grad_mask[k] =
        up * (back * dot[0] + s.right * dot[1]) + s.down * (back * dot[2] + s.right * dot[3]);
  }
}

}  // namespace deform
}  // namespace mmattn
