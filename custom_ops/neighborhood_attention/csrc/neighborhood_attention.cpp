// mmattn_cpp::neighborhood_attention and its backward: checks and threads. The work is in the
// header.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <tuple>
#include <vector>

#include "neighborhood_kernel.h"
#include "stored_type.h"

namespace mmattn {
namespace neighborhood {
namespace {

using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

constexpr const char* kOp = "neighborhood_attention";

constexpr int64_t kLargestKernel = 63;

Tensor empty(const Ints& size, ScalarType type, const Tensor& like) {
  return torch::stable::empty({size.data(), size.size()}, type, std::nullopt, like.device());
}

Tensor empty_like_map(const Tensor& t) {
  return empty({t.size(0), t.size(1), t.size(2), t.size(3), t.size(4)}, t.scalar_type(), t);
}

void check_like(const Tensor& t, const Tensor& query, const char* name) {
  bool same = t.is_cpu() && t.dim() == 5 && t.scalar_type() == query.scalar_type();
  for (int64_t axis = 0; same && axis < 5; ++axis) same = t.size(axis) == query.size(axis);
  STD_TORCH_CHECK(
      same, "neighborhood_attention: ", name, " must have the shape and the dtype of query");
}

// Checks all inputs; afterwards no index leaves its tensor.
Problem check(
    const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& table,
    const Ints& kernel, const Ints& dilation, double scale) {
  STD_TORCH_CHECK(
      query.is_cpu() && query.dim() == 5,
      "neighborhood_attention: query must be a map (N, H, W, heads, d) on the CPU");
  for (int64_t axis = 1; axis < 5; ++axis) {
    STD_TORCH_CHECK(query.size(axis) > 0, "neighborhood_attention: query is empty");
  }
  check_like(key, query, "key");
  check_like(value, query, "value");
  STD_TORCH_CHECK(
      kernel.size() == 2 && dilation.size() == 2,
      "neighborhood_attention: kernel and dilation must be height and width");
  for (size_t axis = 0; axis < 2; ++axis) {
    STD_TORCH_CHECK(
        kernel[axis] >= 1 && kernel[axis] <= kLargestKernel && kernel[axis] % 2 == 1,
        "neighborhood_attention: kernels must be odd, 1 to ", kLargestKernel);
    STD_TORCH_CHECK(
        dilation[axis] >= 1 && dilation[axis] <= int64_t(1) << 20,
        "neighborhood_attention: dilations must be at least 1");
  }
  if (table.has_value()) {
    STD_TORCH_CHECK(
        table->is_cpu() && table->dim() == 3 && table->size(0) == query.size(3) &&
            table->size(1) == 2 * kernel[0] - 1 && table->size(2) == 2 * kernel[1] - 1 &&
            table->scalar_type() == accumulate_type(query.scalar_type()),
        "neighborhood_attention: bias must be (heads, 2 k - 1, 2 k - 1), in the dtype of sums");
  }
  // Residues that no position has are no grids.
  return {
      query.size(0),
      query.size(1),
      query.size(2),
      query.size(3),
      query.size(4),
      kernel[0],
      kernel[1],
      std::min(dilation[0], query.size(1)),
      std::min(dilation[1], query.size(2)),
      scale};
}

// The channels of a position must be neighbours in memory; other layouts are copied.
Tensor with_channels_last(const Tensor& t) {
  return t.size(4) <= 1 || t.stride(4) == 1 ? t : torch::stable::contiguous(t);
}

template <typename S>
Map<const S> read(const Tensor& t) {
  return {
      static_cast<const S*>(t.const_data_ptr()), t.stride(0), t.stride(1), t.stride(2),
      t.stride(3)};
}
template <typename S>
Map<S> write(Tensor& t) {
  return {
      static_cast<S*>(t.mutable_data_ptr()), t.stride(0), t.stride(1), t.stride(2), t.stride(3)};
}

template <typename A>
std::vector<A> widened(const Table<A>& table, const std::optional<Tensor>& bias, const Problem& p) {
  if (!bias.has_value()) return table.widened(nullptr, p.heads);
  const Tensor dense = torch::stable::contiguous(*bias);
  return table.widened(static_cast<const A*>(dense.const_data_ptr()), p.heads);
}

Tensor forward(
    const Tensor& query_in, const Tensor& key_in, const Tensor& value_in,
    const std::optional<Tensor>& table, Ints kernel, Ints dilation, double scale) {
  const Problem p = check(query_in, key_in, value_in, table, kernel, dilation, scale);
  const Tensor query = with_channels_last(query_in), key = with_channels_last(key_in),
               value = with_channels_last(value_in);
  Tensor out = empty_like_map(query);
  dispatch(kOp, query.scalar_type(), [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    const Plan<A> plan(p);
    const Lines<A> lines(p);
    const std::vector<A> bias = widened(lines.table, table, p);
    const Forward<S> work{plan,           lines,       read<S>(query), read<S>(key),
                          read<S>(value), bias.data(), write<S>(out)};
    torch::stable::parallel_for(0, plan.count(), 1, [&](int64_t begin, int64_t end) {
      thread_local Scratch scratch;
      for (int64_t i = begin; i < end; ++i) work.run(plan.task(i), scratch);
    });
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> backward(
    const Tensor& grad_in, const Tensor& query_in, const Tensor& key_in, const Tensor& value_in,
    const std::optional<Tensor>& table, Ints kernel, Ints dilation, double scale) {
  const Problem p = check(query_in, key_in, value_in, table, kernel, dilation, scale);
  check_like(grad_in, query_in, "grad");
  const Tensor query = with_channels_last(query_in), key = with_channels_last(key_in),
               value = with_channels_last(value_in), grad = with_channels_last(grad_in);
  const ScalarType type = query.scalar_type();
  Tensor grad_query = empty_like_map(query), grad_key = empty_like_map(query),
         grad_value = empty_like_map(query);
  Ints table_size{0};
  if (table.has_value()) table_size = {p.heads, 2 * p.kernel_y - 1, 2 * p.kernel_x - 1};
  Tensor grad_table = empty(table_size, accumulate_type(type), query);
  dispatch(kOp, type, [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    const Plan<A> plan(p);
    const Lines<A> lines(p);
    const std::vector<A> bias = widened(lines.table, table, p);
    const size_t size = size_t(plan.count() * plan.most_keys() * lines.dense_row());
    std::vector<A> of_key(size, A(0)), of_value(size, A(0)),
        of_bias(size_t(plan.count() * lines.table.size()), A(0));
    const Backward<S> work{plan,           lines,           read<S>(query), read<S>(key),
                           read<S>(value), read<S>(grad),   bias.data(),    write<S>(grad_query),
                           of_key.data(),  of_value.data(), of_bias.data()};
    torch::stable::parallel_for(0, plan.count(), 1, [&](int64_t begin, int64_t end) {
      thread_local Scratch scratch;
      for (int64_t i = begin; i < end; ++i) work.run(i, plan.task(i), scratch);
    });
    const Map<S> to_key = write<S>(grad_key), to_value = write<S>(grad_value);
    torch::stable::parallel_for(0, plan.grids() * p.rows(), 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        work.finish(i / p.rows(), i % p.rows(), of_key.data(), to_key);
        work.finish(i / p.rows(), i % p.rows(), of_value.data(), to_value);
      }
    });
    if (!table.has_value()) return;
    A* to = static_cast<A*>(grad_table.mutable_data_ptr());
    const Table<A>& t = lines.table;
    std::fill(to, to + p.heads * t.rows * t.columns, A(0));
    for (int64_t i = 0; i < plan.count(); ++i) {
      const int64_t head = plan.task(i).head;
      for (int64_t r = 0; r < t.rows; ++r) {
        const A* from = of_bias.data() + i * t.size() + r * t.width() + t.margin;
        A* row = to + (head * t.rows + r) * t.columns;
        for (int64_t c = 0; c < t.columns; ++c) row[c] += from[c];
      }
    }
  });
  return {grad_query, grad_key, grad_value, grad_table};
}

}  // namespace
}  // namespace neighborhood
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def(
      "neighborhood_attention(Tensor query, Tensor key, Tensor value, Tensor? bias, int[] kernel, "
      "int[] dilation, float scale) -> Tensor");
  m.def(
      "neighborhood_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, "
      "Tensor? bias, int[] kernel, int[] dilation, float scale) -> (Tensor, Tensor, Tensor, "
      "Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("neighborhood_attention", TORCH_BOX(&mmattn::neighborhood::forward));
  m.impl("neighborhood_attention_backward", TORCH_BOX(&mmattn::neighborhood::backward));
}
