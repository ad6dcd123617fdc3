// mmattn_cpp::window_attention and its backward: checks and threads. The work is in the header.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <tuple>
#include <vector>

#include "stored_type.h"
#include "window_kernel.h"

namespace mmattn {
namespace window_attention {
namespace {

using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

constexpr const char* kOp = "window_attention";

Tensor empty(const Ints& size, ScalarType type, const Tensor& like) {
  return torch::stable::empty({size.data(), size.size()}, type, std::nullopt, like.device());
}

// Checks all inputs; afterwards no index leaves its tensor.
Problem check(
    const Tensor& qkv, const Tensor& bias, const std::optional<Tensor>& pad, const Ints& window,
    const Ints& shift, bool pad_first, double scale) {
  STD_TORCH_CHECK(
      qkv.is_cpu() && qkv.dim() == 4 && qkv.size(1) > 0 && qkv.size(2) > 0,
      "window_attention: qkv must be a map (N, H, W, 3 C) on the CPU");
  STD_TORCH_CHECK(
      window.size() == 2 && shift.size() == 2,
      "window_attention: window and shift must be height and width");
  for (size_t axis = 0; axis < 2; ++axis) {
    STD_TORCH_CHECK(
        window[axis] >= 1 && window[axis] <= 256 && shift[axis] >= 0 && shift[axis] < window[axis],
        "window_attention: window must be 1 to 256 and shift smaller than it");
  }
  const int64_t tokens = window[0] * window[1];
  STD_TORCH_CHECK(
      bias.is_cpu() && bias.dim() == 3 && bias.size(0) > 0 && bias.size(1) == tokens &&
          bias.size(2) == tokens && bias.scalar_type() == accumulate_type(qkv.scalar_type()),
      "window_attention: bias must be (heads, n, n) for windows of n tokens, in the dtype of sums");
  const int64_t heads = bias.size(0);
  STD_TORCH_CHECK(
      qkv.size(3) > 0 && qkv.size(3) % (3 * heads) == 0,
      "window_attention: the channels of qkv must be three times a multiple of the heads");
  const Problem p{
      qkv.size(0),
      heads,
      qkv.size(3) / (3 * heads),
      Axis{qkv.size(1), window[0], shift[0], pad_first},
      Axis{qkv.size(2), window[1], shift[1], pad_first},
      scale};
  const bool whole = p.y.padded() == p.y.size && p.x.padded() == p.x.size;
  STD_TORCH_CHECK(
      whole || pad.has_value(), "window_attention: pad is needed for a map that is padded");
  if (pad.has_value()) {
    STD_TORCH_CHECK(
        pad->is_cpu() && pad->dim() == 1 && pad->size(0) == qkv.size(3) &&
            pad->scalar_type() == qkv.scalar_type(),
        "window_attention: pad must have the channels and the dtype of qkv");
  }
  return p;
}

template <typename S>
const S* data(const Tensor& t) {
  return static_cast<const S*>(t.const_data_ptr());
}

Tensor forward(
    const Tensor& qkv_in, const Tensor& bias_in, const std::optional<Tensor>& pad_in, Ints window,
    Ints shift, bool pad_first, double scale) {
  const Problem p = check(qkv_in, bias_in, pad_in, window, shift, pad_first, scale);
  const Tensor qkv = torch::stable::contiguous(qkv_in), bias = torch::stable::contiguous(bias_in);
  std::optional<Tensor> pad;
  if (pad_in.has_value()) pad = torch::stable::contiguous(*pad_in);
  Tensor out = empty({p.batch, p.y.size, p.x.size, p.width()}, qkv.scalar_type(), qkv);
  dispatch(kOp, qkv.scalar_type(), [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    const std::vector<A> rows = padded_bias(data<A>(bias), p.heads, p.tokens());
    const Forward<S> kernel{
        {p, data<S>(qkv), rows.data(), pad.has_value() ? data<S>(*pad) : nullptr},
        static_cast<S*>(out.mutable_data_ptr())};
    torch::stable::parallel_for(0, p.windows() * p.heads, 1, [&](int64_t begin, int64_t end) {
      thread_local Scratch scratch;
      Window<A> w;
      for (int64_t task = begin; task < end; ++task) {
        if (task == begin || task % p.heads == 0) w.set(p, task / p.heads);
        kernel.run(w, task % p.heads, scratch);
      }
    });
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> backward(
    const Tensor& grad_in, const Tensor& qkv_in, const Tensor& bias_in,
    const std::optional<Tensor>& pad_in, Ints window, Ints shift, bool pad_first, double scale) {
  const Problem p = check(qkv_in, bias_in, pad_in, window, shift, pad_first, scale);
  STD_TORCH_CHECK(
      grad_in.is_cpu() && grad_in.dim() == 4 && grad_in.size(0) == p.batch &&
          grad_in.size(1) == p.y.size && grad_in.size(2) == p.x.size &&
          grad_in.size(3) == p.width() && grad_in.scalar_type() == qkv_in.scalar_type(),
      "window_attention: grad must have the shape and the dtype of the output");
  const Tensor qkv = torch::stable::contiguous(qkv_in), bias = torch::stable::contiguous(bias_in),
               grad = torch::stable::contiguous(grad_in);
  std::optional<Tensor> pad;
  if (pad_in.has_value()) pad = torch::stable::contiguous(*pad_in);
  const ScalarType type = qkv.scalar_type();
  const int64_t tokens = p.tokens();
  Tensor grad_qkv = empty({p.batch, p.y.size, p.x.size, 3 * p.width()}, type, qkv);
  Tensor grad_bias = empty({p.heads, tokens, tokens}, accumulate_type(type), qkv);
  Tensor grad_pad = empty({pad.has_value() ? 3 * p.width() : 0}, type, qkv);
  dispatch(kOp, type, [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    const int64_t padded = Panels<A>(tokens).padded(), size = p.heads * tokens * padded;
    const int64_t groups = std::min(kGroups, p.windows()), windows = p.windows();
    const std::vector<A> rows = padded_bias(data<A>(bias), p.heads, tokens);
    std::vector<A> bias_sums(size_t(groups * size), A(0)),
        pad_sums(size_t(groups * 3 * p.width()), A(0));
    const Backward<S> kernel{
        {p, data<S>(qkv), rows.data(), pad.has_value() ? data<S>(*pad) : nullptr},
        data<S>(grad),
        static_cast<S*>(grad_qkv.mutable_data_ptr()),
        bias_sums.data(),
        pad_sums.data()};
    torch::stable::parallel_for(0, groups * p.heads, 1, [&](int64_t begin, int64_t end) {
      thread_local Scratch scratch;
      Window<A> w;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task / p.heads;
        for (int64_t i = windows * group / groups; i < windows * (group + 1) / groups; ++i) {
          w.set(p, i);
          kernel.run(w, task % p.heads, group, scratch);
        }
      }
    });
    A* to = static_cast<A*>(grad_bias.mutable_data_ptr());
    torch::stable::parallel_for(0, p.heads * tokens, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t j = 0; j < tokens; ++j) {
          A sum = 0;
          for (int64_t group = 0; group < groups; ++group) {
            sum += bias_sums[size_t(group * size + i * padded + j)];
          }
          to[i * tokens + j] = sum;
        }
      }
    });
    S* pad_to = static_cast<S*>(grad_pad.mutable_data_ptr());
    for (int64_t c = 0; c < grad_pad.numel(); ++c) {
      A sum = 0;
      for (int64_t group = 0; group < groups; ++group) {
        sum += pad_sums[size_t(group * 3 * p.width() + c)];
      }
      narrow(sum, pad_to[c]);
    }
  });
  return {grad_qkv, grad_bias, grad_pad};
}

}  // namespace
}  // namespace window_attention
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def(
      "window_attention(Tensor qkv, Tensor bias, Tensor? pad, int[] window, int[] shift, bool "
      "pad_first, float scale) -> Tensor");
  m.def(
      "window_attention_backward(Tensor grad, Tensor qkv, Tensor bias, Tensor? pad, int[] window, "
      "int[] shift, bool pad_first, float scale) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("window_attention", TORCH_BOX(&mmattn::window_attention::forward));
  m.impl("window_attention_backward", TORCH_BOX(&mmattn::window_attention::backward));
}
