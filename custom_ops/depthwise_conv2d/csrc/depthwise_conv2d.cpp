// mmattn_cpp::depthwise_conv2d and its backward: checks, layout, threads. The work is in the
// header.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "depthwise_kernel.h"
#include "stored_type.h"

namespace mmattn {
namespace depthwise {
namespace {

using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

constexpr const char* kOp = "depthwise_conv2d";

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

constexpr int64_t kLargest = int64_t(1) << 24;  // far from overflows of products

void check_arguments(
    const Tensor& x, const Tensor& weight, const Ints& padding, const Ints& dilation) {
  STD_TORCH_CHECK(x.dim() == 4, "depthwise_conv2d: x must have 4 dimensions");
  STD_TORCH_CHECK(weight.is_cpu(), "depthwise_conv2d: weight must be on the CPU");
  STD_TORCH_CHECK(
      weight.dim() == 4 && weight.size(0) == x.size(1) && weight.size(1) == 1,
      "depthwise_conv2d: weight must have shape (channels, 1, height, width)");
  STD_TORCH_CHECK(
      weight.scalar_type() == x.scalar_type(),
      "depthwise_conv2d: x and weight must have one dtype");
  STD_TORCH_CHECK(
      padding.size() == 2 && dilation.size() == 2,
      "depthwise_conv2d: padding and dilation must have two values");
  for (int i = 0; i < 2; ++i) {
    STD_TORCH_CHECK(
        padding[i] >= 0 && padding[i] <= kLargest,
        "depthwise_conv2d: padding must not be negative, nor above 2^24");
    STD_TORCH_CHECK(
        dilation[i] >= 1 && dilation[i] <= kLargest,
        "depthwise_conv2d: dilation must be at least 1, and at most 2^24");
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

constexpr int64_t kMostParts = 32;          // of sums, for each block of channels
constexpr int64_t kEachWindow = INT64_MAX;  // is a part, where nothing is summed over windows

// Weights of all blocks, [block][outer tap][inner tap][lane].
template <typename S, typename A = Compute<S>>
A* pack_weights(const Problem& p, const S* weight, bool flip, Scratch& scratch) {
  constexpr int L = kLanes<A>;
  const int64_t size = p.outer.kernel * p.inner.kernel * L;
  A* packed = scratch.get<A>(ceil_div(p.channels, L) * size);
  for (int64_t c = 0; c < p.channels; c += L) {
    const int lanes = int(std::min<int64_t>(L, p.channels - c));
    pack_weight(p, weight + c * p.weight_channel_step, lanes, flip, packed + c / L * size);
  }
  return packed;
}

template <typename S>
class Convolution {
 public:
  using A = Compute<S>;
  static constexpr int L = kLanes<A>;

  Convolution(const Problem& p, const S* x, const S* weight, const S* bias, bool flip, S* y)
      : p_(p),
        tiling_(tile<A>(p)),
        x_(x),
        bias_(bias),
        y_(y),
        weight_(pack_weights(p, weight, flip, scratch_)) {
    for (int64_t i = 0; i < tiling_.inner_count; ++i) {
      spans_.push_back(make_spans<A>(p, tiling_.window(p, i)));
    }
  }

  // Computes a window for the blocks in [first, last); calls after(block, packed input) for each.
  template <typename F>
  void run(int64_t n, const Window& w, int64_t first, int64_t last, const F& after) const {
    thread_local Scratch input_scratch, stage_scratch;
    const int64_t channels = std::min(p_.channels, last * L) - first * L;
    const int64_t rows = w.outer_end - w.outer_begin, columns = w.inner_end - w.inner_begin;
    const bool staged =
        p_.outer.kernel == 1 && rows * columns * channels * int64_t(sizeof(S)) <= kStageBytes;
    Target<S> window{
        y_ + n * p_.out_batch_step + first * L + w.outer_begin * p_.outer.out_step +
            w.inner_begin * p_.inner.out_step,
        p_.outer.out_step, p_.inner.out_step};
    const bool upright = window.inner_step > window.outer_step;
    Target<S> to = window;
    if (staged) {
      to = {
          stage_scratch.get<S>(rows * columns * channels), upright ? channels : columns * channels,
          upright ? rows * channels : channels};
    }
    for (int64_t block = first; block < last; ++block, to.data += L) {
      const int64_t c = block * L;
      const int lanes = int(std::min<int64_t>(L, p_.channels - c));
      alignas(kVectorBytes) A bias[L];
      for (int i = 0; i < L; ++i) bias[i] = bias_ && i < lanes ? A(widen(bias_[c + i])) : A(0);
      const Packed<A> input = pack_input(
          p_, x_ + n * p_.in_batch_step + c, lanes, block == first ? channels - L : 0, w,
          input_scratch);
      forward_window<S>(
          p_, w, spans_[w.inner_begin / tiling_.inner_columns], input,
          weight_ + block * p_.outer.kernel * p_.inner.kernel * L, bias, lanes, to);
      after(block, input);
    }
    if (!staged) return;
    const S* from = to.data - (last - first) * L;
    const int64_t slow = upright ? columns : rows, fast = upright ? rows : columns;
    const int64_t slow_step = upright ? window.inner_step : window.outer_step;
    const int64_t fast_step = upright ? window.outer_step : window.inner_step;
    const bool dense = fast_step == channels;
    for (int64_t i = 0; i < slow; ++i) {
      S* line = window.data + i * slow_step;
      for (int64_t j = 0; j < (dense ? 1 : fast); ++j) {
        const int64_t count = dense ? fast * channels : channels;
        std::memcpy(line + j * fast_step, from, count * sizeof(S));
        from += count;
      }
    }
  }

 private:
  const Problem& p_;
  Tiling tiling_;
  Scratch scratch_;
  std::vector<std::vector<Span>> spans_;  // by window of the inner axis
  const S *x_, *bias_;
  S* y_;
  const A* weight_;
};

// Weight and bias gradient. Each block of channels has some partial sums, which are added in order:
// their number depends on the sizes alone, so the result does not change with the threads.
template <typename S>
class Reduction {
 public:
  using A = Compute<S>;
  static constexpr int L = kLanes<A>;

  Reduction(const Problem& p, const S* x, const S* grad, bool with_bias, int64_t parts)
      : p_(p),
        x_(x),
        grad_(grad),
        with_bias_(with_bias),
        parts_(parts),
        taps_(p.outer.kernel * p.inner.kernel),
        sums_(ceil_div(p.channels, L) * parts * (taps_ + 1) * L, A(0)) {}

  // The window's output gradient, if it is not packed yet.
  Packed<A> pack(int64_t n, const Window& w, int64_t block, int64_t siblings) const {
    thread_local Scratch scratch;
    const int lanes = int(std::min<int64_t>(L, p_.channels - block * L));
    return pack_grad(p_, grad_ + n * p_.out_batch_step + block * L, lanes, siblings, w, scratch);
  }

  void run(
      int64_t n, const Window& w, int64_t block, int64_t siblings, int64_t part,
      const Packed<A>& g) {
    thread_local Scratch scratch;
    const int64_t c = block * L;
    const int lanes = int(std::min<int64_t>(L, p_.channels - c));
    A* sum = sums_.data() + (block * parts_ + part) * (taps_ + 1) * L;
    const Packed<A> input =
        pack_input(p_, x_ + n * p_.in_batch_step + c, lanes, siblings, w, scratch);
    weight_window(p_, w, input, g, sum);
    if (!with_bias_) return;
    Vec<A> total = load<A>(sum + taps_ * L);
    for (int64_t row = w.outer_begin; row < w.outer_end; ++row) {
      for (int64_t column = w.inner_begin; column < w.inner_end; ++column) {
        total += load<A>(g.at(row, column));
      }
    }
    store<A>(sum + taps_ * L, total);
  }

  void finish(S* grad_weight, S* grad_bias) const {
    for (int64_t c = 0; c < p_.channels; ++c) {
      for (int64_t tap = 0; tap <= taps_; ++tap) {
        A total(0);
        for (int64_t part = 0; part < parts_; ++part) {
          total += sums_[((c / L * parts_ + part) * (taps_ + 1) + tap) * L + c % L];
        }
        if (tap < taps_) {
          const int64_t o = tap / p_.inner.kernel, i = tap % p_.inner.kernel;
          narrow(
              total,
              grad_weight
                  [c * p_.weight_channel_step + o * p_.weight_outer_step +
                   i * p_.weight_inner_step]);
        } else if (with_bias_) {
          narrow(total, grad_bias[c]);
        }
      }
    }
  }

 private:
  const Problem& p_;
  const S *x_, *grad_;
  bool with_bias_;
  int64_t parts_, taps_;
  std::vector<A> sums_;
};

// Calls f(image, window, first block, last block, part) for all windows and groups of blocks.
// Windows are dealt into parts, and threads share out parts and groups. How many parts there are
// depends on the sizes alone, so that sums over them do; groups get smaller with more threads.
template <typename A>
class Plan {
 public:
  Plan(const Problem& p, int64_t most_parts)
      : p_(p),
        tiling_(tile<A>(p)),
        blocks_(ceil_div(p.channels, kLanes<A>)),
        units_(p.batch * tiling_.count()),
        parts_(std::max<int64_t>(1, std::min(units_, most_parts))) {
    const int64_t wanted = 4 * int64_t(torch::stable::get_num_threads());
    group_ = std::max<int64_t>(1, std::min(kGroup, parts_ * blocks_ / wanted));
  }

  int64_t parts() const { return parts_; }

  template <typename F>
  void run(const F& f) const {
    const int64_t groups = ceil_div(blocks_, group_);
    torch::stable::parallel_for(0, parts_ * groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t part = task / groups, first = task % groups * group_;
        const int64_t last = std::min(blocks_, first + group_);
        for (int64_t unit = units_ * part / parts_; unit < units_ * (part + 1) / parts_; ++unit) {
          const Window w = tiling_.window(p_, unit % tiling_.count());
          f(unit / tiling_.count(), w, first, last, part);
        }
      }
    });
  }

 private:
  const Problem& p_;
  Tiling tiling_;
  int64_t blocks_, units_, parts_, group_;
};

Tensor forward(
    const Tensor& input, const Tensor& weight, std::optional<Tensor> bias, const Ints padding,
    const Ints dilation) {
  const Tensor x = channels_last(input, "x");
  check_arguments(x, weight, padding, dilation);
  if (bias.has_value()) {
    STD_TORCH_CHECK(
        bias->is_cpu() && bias->dim() == 1 && bias->size(0) == x.size(1) &&
            bias->scalar_type() == x.scalar_type(),
        "depthwise_conv2d: bias must hold one value per channel, in the dtype of x");
    bias = torch::stable::contiguous(*bias);
  }
  const auto size = output_size(x, weight, padding, dilation);
  Tensor y = empty_channels_last(x, x.size(0), x.size(1), size[0], size[1]);
  if (y.numel() == 0) return y;
  const Problem p = make_problem(x, y, weight, padding[0], padding[1], dilation[0], dilation[1]);
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    const Convolution<S> convolution(
        p, static_cast<const S*>(x.const_data_ptr()),
        static_cast<const S*>(weight.const_data_ptr()),
        bias.has_value() ? static_cast<const S*>(bias->const_data_ptr()) : nullptr, false,
        static_cast<S*>(y.mutable_data_ptr()));
    const Plan<Compute<S>> plan(p, kEachWindow);
    plan.run([&](int64_t n, const Window& w, int64_t first, int64_t last, int64_t) {
      convolution.run(n, w, first, last, [](int64_t, const auto&) {});
    });
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
  Tensor grad_x = need_input ? empty_channels_last(x, x.size(0), x.size(1), x.size(2), x.size(3))
                             : torch::stable::new_empty(x, {0});
  const std::array<int64_t, 4> weight_size{weight.size(0), 1, weight.size(2), weight.size(3)};
  Tensor grad_weight = need_weight || need_bias
      ? torch::stable::new_zeros(weight, {weight_size.data(), weight_size.size()})
      : torch::stable::new_empty(weight, {0});
  const int64_t channels = x.size(1);
  Tensor grad_bias = torch::stable::new_zeros(weight, {need_bias ? channels : int64_t(0)});
  if (x.numel() == 0) return {grad_x, grad_weight, grad_bias};
  const Problem input_problem = make_problem(
      grad, need_input ? grad_x : x, weight, dilation[0] * (weight.size(2) - 1) - padding[0],
      dilation[1] * (weight.size(3) - 1) - padding[1], dilation[0], dilation[1]);
  const bool reduce = need_weight || need_bias;
  const Problem weight_problem = make_problem(
      x, grad, reduce ? grad_weight : weight, padding[0], padding[1], dilation[0], dilation[1]);
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    const S* g = static_cast<const S*>(grad.const_data_ptr());
    S* gx = need_input ? static_cast<S*>(grad_x.mutable_data_ptr()) : nullptr;
    const Convolution<S> convolution(
        input_problem, g, static_cast<const S*>(weight.const_data_ptr()), nullptr, true, gx);
    const Plan<Compute<S>> input_plan(input_problem, kEachWindow);
    const Plan<Compute<S>> weight_plan(weight_problem, kMostParts);
    // Where result and input are of one size, a task makes both gradients of its windows from one
    // packed copy of the output gradient.
    const bool together = need_input && reduce && x.size(2) == size[0] && x.size(3) == size[1] &&
        dilation[0] * (weight.size(2) - 1) == 2 * padding[0] &&
        dilation[1] * (weight.size(3) - 1) == 2 * padding[1];
    if (need_input && !together) {
      input_plan.run([&](int64_t n, const Window& w, int64_t first, int64_t last, int64_t) {
        convolution.run(n, w, first, last, [](int64_t, const auto&) {});
      });
    }
    if (!reduce) return;
    Reduction<S> reduction(
        weight_problem, static_cast<const S*>(x.const_data_ptr()), g, need_bias,
        weight_plan.parts());
    weight_plan.run([&](int64_t n, const Window& w, int64_t first, int64_t last, int64_t part) {
      auto siblings = [&](int64_t block) -> int64_t {
        return block == first ? (last - first - 1) * kLanes<Compute<S>> : 0;
      };
      if (together) {
        convolution.run(n, w, first, last, [&](int64_t block, const auto& packed_grad) {
          reduction.run(n, w, block, siblings(block), part, packed_grad);
        });
        return;
      }
      for (int64_t block = first; block < last; ++block) {
        reduction.run(
            n, w, block, siblings(block), part, reduction.pack(n, w, block, siblings(block)));
      }
    });
    reduction.finish(
        static_cast<S*>(grad_weight.mutable_data_ptr()),
        need_bias ? static_cast<S*>(grad_bias.mutable_data_ptr()) : nullptr);
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
