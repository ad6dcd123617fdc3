// mmattn_cpp::depthwise_conv2d and its backward: checks, layout, threads. The work is in the header.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "depthwise_kernel.h"

namespace mmattn {
namespace depthwise {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

// Calls f with a null pointer of the stored type.
template <typename F>
void dispatch(ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Float: return f(static_cast<float*>(nullptr));
    case ScalarType::Double: return f(static_cast<double*>(nullptr));
    case ScalarType::BFloat16: return f(static_cast<bfloat16*>(nullptr));
    case ScalarType::Half: return f(static_cast<float16*>(nullptr));
    default: STD_TORCH_CHECK(false, "depthwise_conv2d: unsupported dtype");
  }
}

Tensor empty_channels_last(const Tensor& like, int64_t n, int64_t c, int64_t h, int64_t w) {
  const std::array<int64_t, 4> size{n, c, h, w};
  return torch::stable::empty(
      {size.data(), size.size()}, like.scalar_type(), std::nullopt, like.device(), std::nullopt,
      torch::headeronly::MemoryFormat::ChannelsLast);
}

// The channels of a pixel must be neighbours in memory; other layouts are copied.
Tensor channels_last(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.is_cpu(), "depthwise_conv2d: ", name, " must be on the CPU");
  STD_TORCH_CHECK(t.dim() == 4, "depthwise_conv2d: ", name, " must have 4 dimensions");
  if (t.size(1) <= 1 || t.stride(1) == 1) return t;
  return torch::stable::contiguous(t, torch::headeronly::MemoryFormat::ChannelsLast);
}

// Sizes of a convolution from `in` to `out`; `pad` may be negative (as input gradients need it).
Problem make_problem(
    const Tensor& in, const Tensor& out, const Tensor& weight, int64_t pad_h, int64_t pad_w,
    int64_t dilation_h, int64_t dilation_w) {
  Problem p;
  p.batch = in.size(0);
  p.channels = in.size(1);
  Axis h{in.size(2), out.size(2), weight.size(2), dilation_h, pad_h, in.stride(2), out.stride(2)};
  Axis w{in.size(3), out.size(3), weight.size(3), dilation_w, pad_w, in.stride(3), out.stride(3)};
  const bool upright = h.kernel > w.kernel;
  p.outer = upright ? w : h;
  p.inner = upright ? h : w;
  p.in_batch_step = in.stride(0);
  p.out_batch_step = out.stride(0);
  p.weight_channel_step = weight.stride(0);
  p.weight_outer_step = weight.stride(upright ? 3 : 2);
  p.weight_inner_step = weight.stride(upright ? 2 : 3);
  return p;
}

void check_arguments(const Tensor& x, const Tensor& weight, const Ints& padding, const Ints& dilation) {
  STD_TORCH_CHECK(x.dim() == 4, "depthwise_conv2d: x must have 4 dimensions");
  STD_TORCH_CHECK(weight.is_cpu(), "depthwise_conv2d: weight must be on the CPU");
  STD_TORCH_CHECK(
      weight.dim() == 4 && weight.size(0) == x.size(1) && weight.size(1) == 1,
      "depthwise_conv2d: weight must have shape (channels, 1, height, width)");
  STD_TORCH_CHECK(
      weight.scalar_type() == x.scalar_type(), "depthwise_conv2d: x and weight must have one dtype");
  STD_TORCH_CHECK(
      padding.size() == 2 && dilation.size() == 2,
      "depthwise_conv2d: padding and dilation must have two values");
  for (int i = 0; i < 2; ++i) {
    STD_TORCH_CHECK(padding[i] >= 0, "depthwise_conv2d: padding must not be negative");
    STD_TORCH_CHECK(dilation[i] >= 1, "depthwise_conv2d: dilation must be at least 1");
    STD_TORCH_CHECK(weight.size(2 + i) >= 1, "depthwise_conv2d: the kernel is empty");
  }
}

std::array<int64_t, 2> output_size(
    const Tensor& x, const Tensor& weight, const Ints& padding, const Ints& dilation) {
  std::array<int64_t, 2> size;
  for (int i = 0; i < 2; ++i) {
    size[i] = x.size(2 + i) + 2 * padding[i] - dilation[i] * (weight.size(2 + i) - 1);
    STD_TORCH_CHECK(size[i] >= 1, "depthwise_conv2d: the kernel is larger than the padded input");
  }
  return size;
}

template <typename S>
void convolve(const Problem& p, const S* x, const S* weight, const S* bias, bool flip, S* y) {
  using A = Compute<S>;
  constexpr int L = kLanes<A>;
  const int64_t blocks = ceil_div(p.channels, L);
  const Tiling tiling = tile<A>(p);
  const int64_t windows = tiling.count();
  torch::stable::parallel_for(0, p.batch * blocks * windows, 1, [&](int64_t begin, int64_t end) {
    thread_local Scratch input_scratch, weight_scratch;
    int64_t packed_block = -1;
    const A* packed_weight = nullptr;
    alignas(kVectorBytes) A packed_bias[L];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / (blocks * windows), block = task / windows % blocks;
      const int64_t c = block * L;
      const int lanes = int(std::min<int64_t>(L, p.channels - c));
      if (block != packed_block) {
        packed_weight =
            pack_weight(p, weight + c * p.weight_channel_step, lanes, flip, weight_scratch);
        for (int i = 0; i < L; ++i) packed_bias[i] = bias && i < lanes ? A(widen(bias[c + i])) : A(0);
        packed_block = block;
      }
      const Window w = tiling.window(p, task % windows);
      const Packed<A> input = pack_input(p, x + n * p.in_batch_step + c, lanes, w, input_scratch);
      forward_window<S>(p, w, input, packed_weight, packed_bias, lanes, y + n * p.out_batch_step + c);
    }
  });
}

// Weight and bias gradient. Each channel block has some partial sums, which are added in order: their
// number depends on the sizes alone, so the result does not change with the number of threads.
template <typename S>
void reduce_weight(const Problem& p, const S* x, const S* grad, S* grad_weight, S* grad_bias) {
  using A = Compute<S>;
  constexpr int L = kLanes<A>;
  constexpr int64_t kTasks = 32;
  const int64_t blocks = ceil_div(p.channels, L);
  const Tiling tiling = tile<A>(p);
  const int64_t windows = tiling.count(), units = p.batch * windows;
  const int64_t parts = std::max<int64_t>(1, std::min(units, ceil_div(kTasks, blocks)));
  const int64_t taps = p.outer.kernel * p.inner.kernel, size = (taps + 1) * L;
  std::vector<A> sums(blocks * parts * size, A(0));
  torch::stable::parallel_for(0, blocks * parts, 1, [&](int64_t begin, int64_t end) {
    thread_local Scratch input_scratch, grad_scratch;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t c = task / parts * L, part = task % parts;
      const int lanes = int(std::min<int64_t>(L, p.channels - c));
      A* sum = sums.data() + task * size;
      for (int64_t unit = units * part / parts; unit < units * (part + 1) / parts; ++unit) {
        const int64_t n = unit / windows;
        const Window w = tiling.window(p, unit % windows);
        const Packed<A> input = pack_input(p, x + n * p.in_batch_step + c, lanes, w, input_scratch);
        const A* g = pack_grad(p, grad + n * p.out_batch_step + c, lanes, w, grad_scratch);
        weight_window(p, w, input, g, sum);
        if (grad_bias == nullptr) continue;
        const int64_t pixels = (w.outer_end - w.outer_begin) * (w.inner_end - w.inner_begin);
        Vec<A> total = load<A>(sum + taps * L);
        for (int64_t i = 0; i < pixels; ++i) total += load<A>(g + i * L);
        store<A>(sum + taps * L, total);
      }
    }
  });
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t tap = 0; tap <= taps; ++tap) {
      A total(0);
      for (int64_t part = 0; part < parts; ++part) {
        total += sums[((c / L * parts + part) * (taps + 1) + tap) * L + c % L];
      }
      if (tap < taps) {
        const int64_t o = tap / p.inner.kernel, i = tap % p.inner.kernel;
        narrow(total, grad_weight[c * p.weight_channel_step + o * p.weight_outer_step +
                                  i * p.weight_inner_step]);
      } else if (grad_bias != nullptr) {
        narrow(total, grad_bias[c]);
      }
    }
  }
}

Tensor forward(
    const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, const Ints padding,
    const Ints dilation) {
  const Tensor x = channels_last(input, "x");
  check_arguments(x, weight, padding, dilation);
  if (bias.has_value()) {
    STD_TORCH_CHECK(
        bias->is_cpu() && bias->dim() == 1 && bias->size(0) == x.size(1) && bias->is_contiguous() &&
            bias->scalar_type() == x.scalar_type(),
        "depthwise_conv2d: bias must be a contiguous vector, one value per channel, like x");
  }
  const auto size = output_size(x, weight, padding, dilation);
  Tensor y = empty_channels_last(x, x.size(0), x.size(1), size[0], size[1]);
  if (y.numel() == 0) return y;
  const Problem p = make_problem(x, y, weight, padding[0], padding[1], dilation[0], dilation[1]);
  dispatch(x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    convolve<S>(
        p, static_cast<const S*>(x.const_data_ptr()), static_cast<const S*>(weight.const_data_ptr()),
        bias.has_value() ? static_cast<const S*>(bias->const_data_ptr()) : nullptr, false,
        static_cast<S*>(y.mutable_data_ptr()));
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor> backward(
    const Tensor& grad_output, const Tensor& input, const Tensor& weight, const Ints padding,
    const Ints dilation, bool need_input, bool need_weight, bool need_bias) {
  const Tensor grad = channels_last(grad_output, "grad"), x = channels_last(input, "x");
  check_arguments(x, weight, padding, dilation);
  const auto size = output_size(x, weight, padding, dilation);
  STD_TORCH_CHECK(
      grad.size(0) == x.size(0) && grad.size(1) == x.size(1) && grad.size(2) == size[0] &&
          grad.size(3) == size[1] && grad.scalar_type() == x.scalar_type(),
      "depthwise_conv2d: grad does not fit x, weight, padding and dilation");
  Tensor grad_x = need_input
      ? empty_channels_last(x, x.size(0), x.size(1), x.size(2), x.size(3))
      : torch::stable::new_empty(x, {0});
  const std::array<int64_t, 4> weight_size{weight.size(0), 1, weight.size(2), weight.size(3)};
  Tensor grad_weight = need_weight || need_bias
      ? torch::stable::new_zeros(weight, {weight_size.data(), weight_size.size()})
      : torch::stable::new_empty(weight, {0});
  const int64_t channels = x.size(1);
  Tensor grad_bias = torch::stable::new_zeros(weight, {need_bias ? channels : int64_t(0)});
  if (x.numel() == 0) return {grad_x, grad_weight, grad_bias};
  dispatch(x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    const S* g = static_cast<const S*>(grad.const_data_ptr());
    if (need_input) {
      const Problem p = make_problem(
          grad, grad_x, weight, dilation[0] * (weight.size(2) - 1) - padding[0],
          dilation[1] * (weight.size(3) - 1) - padding[1], dilation[0], dilation[1]);
      convolve<S>(
          p, g, static_cast<const S*>(weight.const_data_ptr()), nullptr, true,
          static_cast<S*>(grad_x.mutable_data_ptr()));
    }
    if (need_weight || need_bias) {
      const Problem p =
          make_problem(x, grad, grad_weight, padding[0], padding[1], dilation[0], dilation[1]);
      reduce_weight<S>(
          p, static_cast<const S*>(x.const_data_ptr()), g,
          static_cast<S*>(grad_weight.mutable_data_ptr()),
          need_bias ? static_cast<S*>(grad_bias.mutable_data_ptr()) : nullptr);
    }
  });
  return {grad_x, grad_weight, grad_bias};
}

}  // namespace
}  // namespace depthwise
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def(
      "depthwise_conv2d(Tensor x, Tensor weight, Tensor? bias, int[] padding, int[] dilation) -> "
      "Tensor");
  m.def(
      "depthwise_conv2d_backward(Tensor grad, Tensor x, Tensor weight, int[] padding, int[] "
      "dilation, bool need_input, bool need_weight, bool need_bias) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("depthwise_conv2d", TORCH_BOX(&mmattn::depthwise::forward));
  m.impl("depthwise_conv2d_backward", TORCH_BOX(&mmattn::depthwise::backward));
}
