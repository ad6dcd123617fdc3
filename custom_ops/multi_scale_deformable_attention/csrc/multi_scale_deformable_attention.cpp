// mmattn_cpp::multi_scale_deformable_attention and its backward: checks and threads. The work is in
// the header.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <limits>
#include <tuple>
#include <vector>

#include "multi_scale_deformable_checks.h"
#include "multi_scale_deformable_kernel.h"
#include "stored_type.h"

namespace mmattn {
namespace msda {
namespace {

using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

constexpr const char* kOp = "multi_scale_deformable_attention";

Problem make_problem(
    const Tensor& value, const Tensor& locations, const Ints& shapes, const Ints& starts) {
  Problem p{
      value.size(0),
      value.size(1),
      value.size(2),
      value.size(3),
      locations.size(1),
      locations.size(4),
      {},
      value.stride(0),
      value.stride(1),
      value.stride(2)};
  for (size_t i = 0; i < starts.size(); ++i) {
    p.levels.push_back({shapes[2 * i], shapes[2 * i + 1], starts[i]});
  }
  return p;
}

// The channels of a head must be neighbours in memory; other layouts are copied.
Tensor with_dense_channels(const Tensor& t) {
  if (t.dim() == 4 && (t.size(3) <= 1 || t.stride(3) == 1)) return t;
  return torch::stable::contiguous(t);
}

template <typename T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

Tensor forward(
    const Tensor& given_value, const Tensor& given_locations, const Tensor& given_weights,
    const Ints shapes, const Ints starts) {
  check_arguments(given_value, given_locations, given_weights, shapes, starts);
  STD_TORCH_CHECK(
      given_value.is_cpu(), "multi_scale_deformable_attention: tensors must be on the CPU");
  const Tensor value = with_dense_channels(given_value);
  const Tensor locations = torch::stable::contiguous(given_locations);
  const Tensor weights = torch::stable::contiguous(given_weights);
  const Problem p = make_problem(value, locations, shapes, starts);
  Tensor output = torch::stable::new_empty(value, {p.batch, p.queries, p.heads * p.channels});
  if (output.numel() == 0) return output;
  dispatch(kOp, value.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    using A = Compute<S>;
    const SampleLevels<A> levels(p);
    // Enough work to be worth a thread.
    const int64_t work = p.heads * std::max<int64_t>(p.samples(), 1) * p.channels;
    const int64_t grain = std::max<int64_t>(1, 16384 / work);
    S* to = static_cast<S*>(output.mutable_data_ptr());
    torch::stable::parallel_for(0, p.batch * p.queries, grain, [&](int64_t begin, int64_t end) {
      thread_local Scratch sums;
      forward_queries<S>(
          p, levels, data<S>(value), data<A>(locations), data<A>(weights), to, begin, end,
          sums.get<A>(p.channels));
    });
  });
  return output;
}

std::tuple<Tensor, Tensor, Tensor> backward(
    const Tensor& given_grad, const Tensor& given_value, const Tensor& given_locations,
    const Tensor& given_weights, const Ints shapes, const Ints starts, bool need_value,
    bool need_locations, bool need_weights) {
  check_arguments(given_value, given_locations, given_weights, shapes, starts);
  check_gradient(given_grad, given_value, given_locations);
  STD_TORCH_CHECK(
      given_value.is_cpu(), "multi_scale_deformable_attention: tensors must be on the CPU");
  const Tensor grad = torch::stable::contiguous(given_grad);
  const Tensor value = with_dense_channels(given_value);
  const Tensor locations = torch::stable::contiguous(given_locations);
  const Tensor weights = torch::stable::contiguous(given_weights);
  const Problem p = make_problem(value, locations, shapes, starts);
  int64_t covered = 0;
  for (const Level& level : p.levels) covered += level.pixels();
  // Pixels between the levels get no gradient from any task.
  const std::array<int64_t, 4> size{p.batch, p.pixels, p.heads, p.channels};
  const bool gaps = covered != p.pixels;
  Tensor grad_value = !need_value ? torch::stable::new_empty(value, {0})
      : gaps                      ? torch::stable::new_zeros(value, {size.data(), size.size()})
                                  : torch::stable::new_empty(value, {size.data(), size.size()});
  Tensor grad_locations = need_locations ? torch::stable::empty_like(locations)
                                         : torch::stable::new_empty(locations, {0});
  Tensor grad_weights =
      need_weights ? torch::stable::empty_like(weights) : torch::stable::new_empty(weights, {0});
  if (p.channels == 0) {
    torch::stable::zero_(grad_locations);
    torch::stable::zero_(grad_weights);
  }
  if (p.batch * p.heads * p.channels == 0) return {grad_value, grad_locations, grad_weights};
  dispatch(kOp, value.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    using A = Compute<S>;
    const Gradients<S> out{
        need_value ? static_cast<S*>(grad_value.mutable_data_ptr()) : nullptr,
        need_locations ? static_cast<A*>(grad_locations.mutable_data_ptr()) : nullptr,
        need_weights ? static_cast<A*>(grad_weights.mutable_data_ptr()) : nullptr};
    const int64_t levels = int64_t(p.levels.size());
    const int64_t tasks = p.batch * p.heads * levels;
    torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
      thread_local TaskScratch scratch;
      for (int64_t task = begin; task < end; ++task) {
        backward_level<S>(
            p, task / (p.heads * levels), task / levels % p.heads, task % levels, data<S>(grad),
            data<S>(value), data<A>(locations), data<A>(weights), out, scratch);
      }
    });
  });
  return {grad_value, grad_locations, grad_weights};
}

}  // namespace
}  // namespace msda
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def(
      "multi_scale_deformable_attention(Tensor value, Tensor sampling_locations, Tensor "
      "attention_weights, int[] spatial_shapes, int[] level_starts) -> Tensor");
  m.def(
      "multi_scale_deformable_attention_backward(Tensor grad, Tensor value, Tensor "
      "sampling_locations, Tensor attention_weights, int[] spatial_shapes, int[] level_starts, "
      "bool "
      "need_value, bool need_locations, bool need_weights) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("multi_scale_deformable_attention", TORCH_BOX(&mmattn::msda::forward));
  m.impl("multi_scale_deformable_attention_backward", TORCH_BOX(&mmattn::msda::backward));
}
