// mmattn_cpp::modulated_deform_conv2d and its backward: checks, threads, order of the work.
//
// Forward: for a tile of output pixels and one tap, the inputs are read bilinearly into panels, and
// these are multiplied with the tap's weights; the columns of all taps never exist at once.
// Backward reads them again. No two tasks write to one place, and sums over tasks have a fixed
// order, so the results do not depend on the number of threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "layout.h"
#include "stored_type.h"

namespace mmattn {
namespace deform {
namespace {

using torch::stable::parallel_for;
using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

constexpr const char* kOp = "modulated_deform_conv2d";

#define MMATTN_CHECK(condition, ...) \
  STD_TORCH_CHECK(condition, "modulated_deform_conv2d: ", __VA_ARGS__)

constexpr int64_t kSpan = 64;          // channels of a task of the gradients of input and offsets
constexpr int64_t kWeightBlock = 128;  // channels of a task of the weight gradient

template <typename S>
Strided<S> strided(const Tensor& t) {
  return {
      static_cast<const S*>(t.const_data_ptr()), t.stride(0), t.stride(1), t.stride(2),
      t.stride(3)};
}

Tensor empty(const Tensor& like, const std::array<int64_t, 4>& size, bool channels_last) {
  return torch::stable::empty(
      {size.data(), size.size()}, like.scalar_type(), std::nullopt, like.device(), std::nullopt,
      channels_last ? torch::headeronly::MemoryFormat::ChannelsLast
                    : torch::headeronly::MemoryFormat::Contiguous);
}

void check_tensor(const Tensor& t, const char* name, int64_t dimensions, ScalarType type) {
  MMATTN_CHECK(t.is_cpu(), name, " must be on the CPU");
  MMATTN_CHECK(t.dim() == dimensions, name, " must have ", dimensions, " dimensions");
  MMATTN_CHECK(t.scalar_type() == type, name, " has the wrong dtype");
}

Problem make_problem(
    const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
    const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups,
    int64_t deform_groups) {
  const ScalarType type = x.scalar_type();
  const ScalarType sums = type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  check_tensor(x, "x", 4, type);
  check_tensor(offset, "offset", 4, sums);
  check_tensor(weight, "weight", 4, type);
  MMATTN_CHECK(
      stride.size() == 2 && padding.size() == 2 && dilation.size() == 2,
      "stride, padding and dilation must have two values");
  constexpr int64_t kMost = int64_t(1) << 30;  // so that no product overflows
  std::array<int64_t, 2> out;
  for (int i = 0; i < 2; ++i) {
    MMATTN_CHECK(stride[i] >= 1 && stride[i] < kMost, "stride is out of range");
    MMATTN_CHECK(padding[i] >= 0 && padding[i] < kMost, "padding is out of range");
    MMATTN_CHECK(dilation[i] >= 1 && dilation[i] < kMost, "dilation is out of range");
    MMATTN_CHECK(
        weight.size(2 + i) >= 1 && weight.size(2 + i) < kMost, "the kernel's size is out of range");
    const int64_t span = dilation[i] * (weight.size(2 + i) - 1) + 1;
    const int64_t padded = x.size(2 + i) + 2 * padding[i];
    MMATTN_CHECK(padded >= span, "the kernel is larger than the padded input");
    out[i] = (padded - span) / stride[i] + 1;
  }
  MMATTN_CHECK(
      x.size(1) > 0 && x.size(2) > 0 && x.size(3) > 0 && weight.size(0) > 0, "a size is 0");
  MMATTN_CHECK(groups >= 1 && deform_groups >= 1, "groups must be positive");
  MMATTN_CHECK(
      x.size(1) % groups == 0 && weight.size(0) % groups == 0 && x.size(1) % deform_groups == 0,
      "the groups do not divide the channels");
  MMATTN_CHECK(weight.size(1) == x.size(1) / groups, "weight and x do not fit");
  Problem p{
      x.size(0),  x.size(1),      x.size(2),      x.size(3), weight.size(0), out[0],
      out[1],     weight.size(2), weight.size(3), stride[0], stride[1],      padding[0],
      padding[1], dilation[0],    dilation[1],    groups,    deform_groups,
  };
  auto check_plane = [&](const Tensor& t, const char* name, int64_t channels) {
    check_tensor(t, name, 4, sums);
    MMATTN_CHECK(
        t.size(0) == p.batch && t.size(1) == channels && t.size(2) == p.out_height &&
            t.size(3) == p.out_width,
        name, " must have shape (", p.batch, ", ", channels, ", ", p.out_height, ", ", p.out_width,
        ")");
  };
  check_plane(offset, "offset", 2 * deform_groups * p.taps());
  if (mask.has_value()) check_plane(*mask, "mask", deform_groups * p.taps());
  return p;
}

// The images as pixels whose channels lie beside each other: as they are, or copied into the
// buffer.
template <typename S, typename A = Compute<S>>
class Images {
 public:
  Images(const Problem& p, const Tensor& t)
      : x_(strided<S>(t)), plane_(p.height * p.width * p.channels) {
    const bool dense = (p.channels == 1 || x_.c == 1) && (p.width == 1 || x_.w == p.channels) &&
        (p.height == 1 || x_.h == p.width * p.channels);
    if constexpr (std::is_same<S, A>::value) {
      if (dense) {
        data_ = x_.data;
        step_ = x_.n;
        return;
      }
    }
    copy_.emplace(p.batch * plane_);
    data_ = copy_->get();
    step_ = plane_;
    parallel_for(0, p.batch * p.height, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const S* from = x_.data + row / p.height * x_.n + row % p.height * x_.h;
        pack_row<S>(p, from, x_.c, x_.w, copy_->get() + row * p.width * p.channels);
      }
    });
  }

  const A* at(int64_t n) const { return data_ + n * step_; }

 private:
  Strided<S> x_;
  int64_t plane_, step_ = 0;
  const A* data_ = nullptr;
  std::optional<Buffer<A>> copy_;
};

template <typename A>
Offsets<A> make_offsets(const Tensor& offset, const std::optional<Tensor>& mask) {
  Offsets<A> o;
  o.offset = strided<A>(offset);
  if (mask.has_value()) o.mask = strided<A>(*mask);
  return o;
}

template <typename S, typename A = Compute<S>>
void convolve(
    const Problem& p, const Tensor& x, const Offsets<A>& offsets, const S* weight, const S* bias,
    S* y, bool channels_last) {
  constexpr int64_t P = kPanel<A>;
  const Images<S> images(p, x);
  const int64_t out_panels = panels<A>(p.group_out()), tap_size = weight_panels_size<A>(p);
  Buffer<A> packed(p.groups * p.taps() * tap_size);
  parallel_for(0, p.groups * out_panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pack_weight<S>(p, weight, i / out_panels, i % out_panels, packed.get());
    }
  });
  const int64_t pixel_step = channels_last ? p.out_channels : 1;
  const int64_t channel_step = channels_last ? 1 : p.pixels();
  parallel_for(0, p.batch * p.tiles(), 1, [&](int64_t begin, int64_t end) {
    Buffer<A> columns(panels<A>(p.group_in()) * kTilePixels * P),
        sums(out_panels * kTilePixels * P);
    Buffer<A> nothing(p.channels);
    Buffer<Sample<A>> samples(kTilePixels);
    std::fill(nothing.get(), nothing.get() + p.channels, A(0));
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / p.tiles(), first = unit % p.tiles() * kTilePixels;
      const int64_t count = std::min(kTilePixels, p.pixels() - first);
      for (int64_t group = 0; group < p.groups; ++group) {
        const int64_t first_in = group * p.group_in(), first_out = group * p.group_out();
        for (int64_t i = 0; i < out_panels * kTilePixels * P; ++i) {
          const int64_t o = i / (kTilePixels * P) * P + i % P;
          sums.get()[i] = bias && o < p.group_out() ? A(widen(bias[first_out + o])) : A(0);
        }
        for (int64_t tap = 0; tap < p.taps(); ++tap) {
          for_spans(p, first_in, first_in + p.group_in(), p.channels, [&](const Span& span) {
            locate(p, offsets, n, span.deform_group, tap, first, count, samples.get());
            gather(
                p, images.at(n), nothing.get(), span, first_in, samples.get(), count,
                columns.get());
          });
          multiply(
              columns.get(), packed.get() + (group * p.taps() + tap) * tap_size, p.group_in() * P,
              sums.get(), count, p.group_in(), p.group_out());
        }
        S* to =
            y + (n * p.out_channels * p.pixels()) + first * pixel_step + first_out * channel_step;
        for (int64_t panel = 0; panel < out_panels; ++panel) {
          const int64_t lanes = std::min(P, p.group_out() - panel * P);
          const A* from = sums.get() + panel * kTilePixels * P;
          S* at = to + panel * P * channel_step;
          if (channels_last) {
            for (int64_t k = 0; k < count; ++k)
              narrow_block(from + k * P, int(lanes), at + k * pixel_step);
          } else {
            for (int64_t l = 0; l < lanes; ++l) {
              for (int64_t k = 0; k < count; ++k) narrow(from[k * P + l], at[l * channel_step + k]);
            }
          }
        }
      }
    }
  });
}

// The output gradient in panels, all tiles.
template <typename S, typename A = Compute<S>>
Buffer<A> pack_grads(const Problem& p, const Tensor& grad) {
  const int64_t size = grad_tile_size<A>(p);
  Buffer<A> packed(p.batch * p.tiles() * size);
  const Strided<S> from = strided<S>(grad);
  parallel_for(0, p.batch * p.tiles(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pack_grad<S>(p, from, i / p.tiles(), i % p.tiles(), packed.get() + i * size);
    }
  });
  return packed;
}

// Gradients of the images (added to grad_x, unless it is null) and of offset and mask (unless
// null).
template <typename S, typename A = Compute<S>>
void differentiate_reading(
    const Problem& p, const Images<S>& images, const Offsets<A>& offsets, const S* weight,
    const A* grads, A* grad_x, A* grad_offset, A* grad_mask) {
  constexpr int64_t P = kPanel<A>;
  std::vector<Span> spans;
  for_spans(p, 0, p.channels, kSpan, [&](const Span& span) { spans.push_back(span); });
  const int64_t pixels = p.pixels(), tile_size = grad_tile_size<A>(p);
  const int64_t tap_size = panels<A>(std::min(kSpan, p.channels)) * p.group_out() * P;
  Buffer<A> packed(int64_t(spans.size()) * p.taps() * tap_size);
  parallel_for(0, int64_t(spans.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pack_weight_transposed<S>(p, weight, spans[i], packed.get() + i * p.taps() * tap_size);
    }
  });
  // Each span's part of the gradients: [span][image][tap][down, right, mask][pixel].
  const int64_t part = p.taps() * 3 * pixels;
  Buffer<A> parts(grad_offset ? int64_t(spans.size()) * p.batch * part : 0);
  parallel_for(0, p.batch * int64_t(spans.size()), 1, [&](int64_t begin, int64_t end) {
    Buffer<A> columns(panels<A>(kSpan) * kTilePixels * P), nothing(kSpan), sink(kSpan);
    Buffer<Sample<A>> samples(kTilePixels);
    std::fill(nothing.get(), nothing.get() + kSpan, A(0));
    std::fill(sink.get(), sink.get() + kSpan, A(0));
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t index = unit / p.batch, n = unit % p.batch;
      const Span& span = spans[index];
      // As they were packed for this span, whose panels may be fewer than those of the widest.
      const A* taps = packed.get() + index * p.taps() * tap_size;
      const int64_t span_panels = panels<A>(span.width()),
                    tap_step = span_panels * p.group_out() * P;
      for (int64_t tile = 0; tile < p.tiles(); ++tile) {
        const int64_t first = tile * kTilePixels, count = std::min(kTilePixels, pixels - first);
        const A* grad = grads + (n * p.tiles() + tile) * tile_size +
            span.group * panels<A>(p.group_out()) * kTilePixels * P;
        for (int64_t tap = 0; tap < p.taps(); ++tap) {
          std::fill(columns.get(), columns.get() + span_panels * kTilePixels * P, A(0));
          multiply(
              grad, taps + tap * tap_step, p.group_out() * P, columns.get(), count, p.group_out(),
              span.width());
          locate(p, offsets, n, span.deform_group, tap, first, count, samples.get());
          A* to = parts.get() + ((index * p.batch + n) * p.taps() + tap) * 3 * pixels + first;
          if (grad_offset == nullptr) to = nullptr;
          scatter(
              p, images.at(n), grad_x ? grad_x + n * p.height * p.width * p.channels : nullptr,
              nothing.get(), sink.get(), span, samples.get(), count, columns.get(), to,
              to ? to + pixels : nullptr, to ? to + 2 * pixels : nullptr);
        }
      }
    }
  });
  if (grad_offset == nullptr) return;
  const int64_t planes = p.deform_groups * p.taps();
  parallel_for(0, p.batch * planes, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / planes, deform_group = i % planes / p.taps(), tap = i % p.taps();
      A* to[3] = {
          grad_offset + 2 * i * pixels, grad_offset + (2 * i + 1) * pixels,
          grad_mask ? grad_mask + i * pixels : nullptr};
      bool started = false;
      for (size_t s = 0; s < spans.size(); ++s) {
        if (spans[s].deform_group != deform_group) continue;
        const A* from = parts.get() + ((int64_t(s) * p.batch + n) * p.taps() + tap) * 3 * pixels;
        for (int v = 0; v < 3; ++v, from += pixels) {
          if (to[v] == nullptr) continue;
          if (!started) {
            std::copy(from, from + pixels, to[v]);
          } else {
            for (int64_t k = 0; k < pixels; ++k) to[v][k] += from[k];
          }
        }
        started = true;
      }
    }
  });
}

template <typename S, typename A = Compute<S>>
void differentiate_weight(
    const Problem& p, const Images<S>& images, const Offsets<A>& offsets, const A* grads,
    S* grad_weight) {
  constexpr int64_t P = kPanel<A>;
  const int64_t blocks = ceil_div(p.group_in(), kWeightBlock), tile_size = grad_tile_size<A>(p);
  const int64_t most = round_up(std::min(kWeightBlock, p.group_in()), P);
  parallel_for(0, p.groups * p.taps() * blocks, 1, [&](int64_t begin, int64_t end) {
    Buffer<A> columns(most * kTilePixels), sums(panels<A>(p.group_out()) * most * P);
    Buffer<A> nothing(p.channels);
    Buffer<Sample<A>> samples(kTilePixels);
    std::fill(nothing.get(), nothing.get() + p.channels, A(0));
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t group = unit / (p.taps() * blocks), tap = unit / blocks % p.taps();
      const int64_t from = unit % blocks * kWeightBlock;
      const int64_t width = std::min(kWeightBlock, p.group_in() - from), rows = round_up(width, P);
      const int64_t first_in = group * p.group_in() + from;
      std::fill(sums.get(), sums.get() + panels<A>(p.group_out()) * rows * P, A(0));
      for (int64_t n = 0; n < p.batch; ++n) {
        for (int64_t tile = 0; tile < p.tiles(); ++tile) {
          const int64_t first = tile * kTilePixels,
                        count = std::min(kTilePixels, p.pixels() - first);
          for_spans(p, first_in, first_in + width, width, [&](const Span& span) {
            locate(p, offsets, n, span.deform_group, tap, first, count, samples.get());
            gather(
                p, images.at(n), nothing.get(), span, first_in, samples.get(), count,
                columns.get());
          });
          const A* grad = grads + (n * p.tiles() + tile) * tile_size +
              group * panels<A>(p.group_out()) * kTilePixels * P;
          multiply_transposed(columns.get(), grad, sums.get(), width, count, p.group_out());
        }
      }
      for (int64_t o = 0; o < p.group_out(); ++o) {
        S* to = grad_weight + ((group * p.group_out() + o) * p.group_in() + from) * p.taps() + tap;
        const A* sum = sums.get() + o / P * rows * P + o % P;
        for (int64_t c = 0; c < width; ++c) narrow(sum[c * P], to[c * p.taps()]);
      }
    }
  });
}

template <typename S, typename A = Compute<S>>
void differentiate_bias(const Problem& p, const A* grads, S* grad_bias) {
  constexpr int64_t P = kPanel<A>;
  const int64_t group_panels = panels<A>(p.group_out()), tile_size = grad_tile_size<A>(p);
  parallel_for(0, p.groups * group_panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      alignas(kVectorBytes) A total[P] = {};
      for (int64_t tile = 0; tile < p.batch * p.tiles(); ++tile) {
        const A* from =
            grads + tile * tile_size + i * kTilePixels * P;  // zeros fill up the last tile
        alignas(kVectorBytes) A part[P] = {};
        for (int64_t k = 0; k < kTilePixels; ++k) {
          for (int64_t l = 0; l < P; ++l) part[l] += from[k * P + l];
        }
        for (int64_t l = 0; l < P; ++l) total[l] += part[l];
      }
      const int64_t first = i % group_panels * P, lanes = std::min(P, p.group_out() - first);
      S* to = grad_bias + i / group_panels * p.group_out() + first;
      for (int64_t l = 0; l < lanes; ++l) narrow(total[l], to[l]);
    }
  });
}

Tensor forward(
    const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask,
    const Tensor& given_weight, const std::optional<Tensor>& bias, const Ints stride,
    const Ints padding, const Ints dilation, int64_t groups, int64_t deform_groups,
    bool channels_last) {
  const Problem p =
      make_problem(x, offset, mask, given_weight, stride, padding, dilation, groups, deform_groups);
  if (bias.has_value()) {
    check_tensor(*bias, "bias", 1, x.scalar_type());
    MMATTN_CHECK(
        bias->size(0) == p.out_channels && bias->is_contiguous(), "bias does not fit weight");
  }
  Tensor y = empty(x, {p.batch, p.out_channels, p.out_height, p.out_width}, channels_last);
  if (y.numel() == 0) return y;
  const Tensor weight = torch::stable::contiguous(given_weight);
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    convolve<S>(
        p, x, make_offsets<Compute<S>>(offset, mask),
        static_cast<const S*>(weight.const_data_ptr()),
        bias.has_value() ? static_cast<const S*>(bias->const_data_ptr()) : nullptr,
        static_cast<S*>(y.mutable_data_ptr()), channels_last);
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    const Tensor& grad, const Tensor& x, const Tensor& offset, const std::optional<Tensor>& mask,
    const Tensor& given_weight, const Ints stride, const Ints padding, const Ints dilation,
    int64_t groups, int64_t deform_groups, bool channels_last, bool need_x, bool need_offset,
    bool need_weight, bool need_bias) {
  const Problem p =
      make_problem(x, offset, mask, given_weight, stride, padding, dilation, groups, deform_groups);
  check_tensor(grad, "grad", 4, x.scalar_type());
  MMATTN_CHECK(
      grad.size(0) == p.batch && grad.size(1) == p.out_channels && grad.size(2) == p.out_height &&
          grad.size(3) == p.out_width,
      "grad does not fit the other tensors");
  auto zeros = [](const Tensor& like, const std::array<int64_t, 4>& size, bool wanted) {
    return wanted ? torch::stable::new_zeros(like, {size.data(), size.size()})
                  : torch::stable::new_empty(like, {0});
  };
  Tensor grad_x = need_x ? empty(x, {p.batch, p.channels, p.height, p.width}, channels_last)
                         : torch::stable::new_empty(x, {0});
  const int64_t planes = p.deform_groups * p.taps();
  Tensor grad_offset = zeros(offset, {p.batch, 2 * planes, p.out_height, p.out_width}, need_offset);
  Tensor grad_mask =
      zeros(offset, {p.batch, planes, p.out_height, p.out_width}, need_offset && mask.has_value());
  Tensor grad_weight =
      zeros(given_weight, {p.out_channels, p.group_in(), p.kernel_h, p.kernel_w}, need_weight);
  Tensor grad_bias =
      torch::stable::new_zeros(given_weight, {need_bias ? p.out_channels : int64_t(0)});
  auto result = [&] {
    return std::make_tuple(grad_x, grad_offset, grad_mask, grad_weight, grad_bias);
  };
  if (p.batch == 0) return result();
  const Tensor weight = torch::stable::contiguous(given_weight);
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    using A = Compute<S>;
    const Buffer<A> grads = pack_grads<S>(p, grad);
    if (need_bias)
      differentiate_bias<S>(p, grads.get(), static_cast<S*>(grad_bias.mutable_data_ptr()));
    if (!need_x && !need_offset && !need_weight) return;
    const Images<S> images(p, x);
    const Offsets<A> offsets = make_offsets<A>(offset, mask);
    if (need_weight) {
      differentiate_weight<S>(
          p, images, offsets, grads.get(), static_cast<S*>(grad_weight.mutable_data_ptr()));
    }
    if (!need_x && !need_offset) return;
    const int64_t pixels = p.height * p.width, numbers = p.batch * pixels * p.channels;
    const bool direct = std::is_same<S, A>::value && channels_last;
    Buffer<A> copy(need_x && !direct ? numbers : 0);
    S* to = need_x ? static_cast<S*>(grad_x.mutable_data_ptr()) : nullptr;
    A* sums = !need_x ? nullptr : direct ? reinterpret_cast<A*>(to) : copy.get();
    if (need_x) std::fill(sums, sums + numbers, A(0));
    differentiate_reading<S>(
        p, images, offsets, static_cast<const S*>(weight.const_data_ptr()), grads.get(), sums,
        need_offset ? static_cast<A*>(grad_offset.mutable_data_ptr()) : nullptr,
        need_offset && mask.has_value() ? static_cast<A*>(grad_mask.mutable_data_ptr()) : nullptr);
    if (!need_x || direct) return;
    parallel_for(0, p.batch * p.height, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t n = row / p.height, h = row % p.height;
        S* at = to + n * pixels * p.channels + h * p.width * (channels_last ? p.channels : 1);
        unpack_pixels<S>(
            sums + row * p.width * p.channels, p.width, p.channels, at,
            channels_last ? p.channels : 1, channels_last ? 1 : pixels);
      }
    });
  });
  return result();
}

}  // namespace
}  // namespace deform
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def(
      "modulated_deform_conv2d(Tensor x, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, "
      "int[] stride, int[] padding, int[] dilation, int groups, int deform_groups, bool "
      "channels_last) -> Tensor");
  m.def(
      "modulated_deform_conv2d_backward(Tensor grad, Tensor x, Tensor offset, Tensor? mask, Tensor "
      "weight, int[] stride, int[] padding, int[] dilation, int groups, int deform_groups, bool "
      "channels_last, bool need_x, bool need_offset, bool need_weight, bool need_bias) -> (Tensor, "
      "Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("modulated_deform_conv2d", TORCH_BOX(&mmattn::deform::forward));
  m.impl("modulated_deform_conv2d_backward", TORCH_BOX(&mmattn::deform::backward));
}
