// mmattn_cpp::criss_cross and its backward: checks, layout, threads. The work is in the header.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "criss_cross_kernel.h"
#include "stored_type.h"

namespace mmattn {
namespace criss_cross {
namespace {

using torch::stable::Tensor;

constexpr const char* kOp = "criss_cross";

void check_image(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.is_cpu(), "criss_cross: ", name, " must be on the CPU");
  STD_TORCH_CHECK(t.dim() == 4, "criss_cross: ", name, " must have 4 dimensions");
  STD_TORCH_CHECK(
      t.size(2) > 0 && t.size(3) > 0, "criss_cross: height and width of ", name, " must not be 0");
}

void check_alike(const Tensor& t, const Tensor& like, bool channels, const char* name) {
  check_image(t, name);
  STD_TORCH_CHECK(
      t.size(0) == like.size(0) && t.size(2) == like.size(2) && t.size(3) == like.size(3) &&
          (!channels || t.size(1) == like.size(1)),
      "criss_cross: the shape of ", name, " does not fit");
  STD_TORCH_CHECK(
      t.scalar_type() == like.scalar_type(), "criss_cross: all must have the same dtype");
}

// One number for each position, in the dtype of sums.
Tensor check_numbers(const Tensor& t, const Tensor& like, const char* name) {
  STD_TORCH_CHECK(
      t.is_cpu() && t.dim() == 3 && t.size(0) == like.size(0) && t.size(1) == like.size(2) &&
          t.size(2) == like.size(3) && t.scalar_type() == accumulate_type(like.scalar_type()),
      "criss_cross: ", name, " must have shape (N, H, W) and the dtype of the computation");
  return torch::stable::contiguous(t);
}

// The channels of a position must be neighbours in memory; other layouts are copied.
Tensor channels_last(const Tensor& t) {
  if (t.size(1) <= 1 || t.stride(1) == 1) return t;
  return torch::stable::contiguous(t, torch::headeronly::MemoryFormat::ChannelsLast);
}

Tensor empty_channels_last(const Tensor& like, ScalarType type) {
  const std::array<int64_t, 4> size{like.size(0), like.size(1), like.size(2), like.size(3)};
  return torch::stable::empty(
      {size.data(), size.size()}, type, std::nullopt, like.device(), std::nullopt,
      torch::headeronly::MemoryFormat::ChannelsLast);
}

Tensor empty_numbers(const Tensor& like) {
  const std::array<int64_t, 3> size{like.size(0), like.size(2), like.size(3)};
  return torch::stable::empty(
      {size.data(), size.size()}, accumulate_type(like.scalar_type()), std::nullopt, like.device());
}

template <typename S>
Image<const S> read(const Tensor& t) {
  return {static_cast<const S*>(t.const_data_ptr()), t.stride(0), t.stride(2), t.stride(3)};
}
template <typename S>
Image<S> write(Tensor& t) {
  return {static_cast<S*>(t.mutable_data_ptr()), t.stride(0), t.stride(2), t.stride(3)};
}
template <typename A>
Image<A> numbers(A* data, const Tensor& like) {
  return {data, like.size(2) * like.size(3), like.size(3), 1};
}

// All lines of one direction.
template <typename Kernel>
void run_lines(const Kernel& kernel, const Tensor& like, bool column, bool add) {
  const int64_t height = like.size(2), width = like.size(3);
  const int64_t lines = column ? width : height, length = column ? height : width;
  torch::stable::parallel_for(0, like.size(0) * lines, 1, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    Line line{column, begin / lines, begin % lines, length};
    for (int64_t i = begin + 1; i <= end; ++i) {
      const Line next{column, i / lines, i % lines, length};
      kernel.run(line, i < end ? &next : nullptr, add, scratch);
      line = next;
    }
  });
}

// Columns, then rows; a column of one position has nothing to add to its row.
template <typename Kernel>
void run_image(const Kernel& kernel, const Tensor& like) {
  const bool columns = like.size(2) > 1;
  if (columns) run_lines(kernel, like, true, false);
  run_lines(kernel, like, false, columns);
}

// A result converted to the stored dtype. Both are dense and laid out alike.
template <typename S>
Tensor stored(const Tensor& computed, ScalarType type) {
  using A = Compute<S>;
  if constexpr (std::is_same<S, A>::value) {
    return computed;
  } else {
    Tensor result = empty_channels_last(computed, type);
    const A* from = static_cast<const A*>(computed.const_data_ptr());
    S* to = static_cast<S*>(result.mutable_data_ptr());
    torch::stable::parallel_for(0, result.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) narrow(from[i], to[i]);
    });
    return result;
  }
}

std::tuple<Tensor, Tensor> forward(
    const Tensor& query_in, const Tensor& key_in, const Tensor& value_in) {
  check_image(query_in, "query");
  check_alike(key_in, query_in, true, "key");
  check_alike(value_in, query_in, false, "value");
  const Tensor query = channels_last(query_in), key = channels_last(key_in),
               value = channels_last(value_in);
  const ScalarType type = query.scalar_type();
  const int64_t batch = query.size(0), height = query.size(2), width = query.size(3);
  Tensor out = empty_channels_last(value, accumulate_type(type)), lse = empty_numbers(query);
  dispatch(kOp, type, [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    std::vector<A> of_columns(2 * batch * height * width);
    const Forward<S> kernel{
        Sizes{query.size(1), value.size(1)},
        read<S>(query),
        read<S>(key),
        read<S>(value),
        write<A>(out),
        numbers(static_cast<A*>(lse.mutable_data_ptr()), query),
        numbers(of_columns.data(), query),
        numbers(of_columns.data() + batch * height * width, query)};
    run_image(kernel, query);
    out = stored<S>(out, type);
  });
  return {out, lse};
}

std::tuple<Tensor, Tensor, Tensor> backward(
    const Tensor& grad_in, const std::optional<Tensor>& grad_lse_in, const Tensor& query_in,
    const Tensor& key_in, const Tensor& value_in, const Tensor& out_in, const Tensor& lse_in) {
  check_image(query_in, "query");
  check_alike(key_in, query_in, true, "key");
  check_alike(value_in, query_in, false, "value");
  check_alike(out_in, value_in, true, "out");
  check_alike(grad_in, value_in, true, "grad");
  const Tensor lse = check_numbers(lse_in, query_in, "lse");
  const Tensor query = channels_last(query_in), key = channels_last(key_in),
               value = channels_last(value_in), out = channels_last(out_in),
               grad = channels_last(grad_in);
  std::optional<Tensor> grad_lse;
  if (grad_lse_in.has_value()) grad_lse = check_numbers(*grad_lse_in, query_in, "grad_lse");
  const ScalarType type = query.scalar_type(), wide = accumulate_type(type);
  const int64_t batch = query.size(0), height = query.size(2), width = query.size(3);
  Tensor grad_query = empty_channels_last(query, wide), grad_key = empty_channels_last(key, wide),
         grad_value = empty_channels_last(value, wide);
  dispatch(kOp, type, [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    std::vector<A> delta(batch * height * width);
    const Backward<S> kernel{
        Sizes{query.size(1), value.size(1)},
        read<S>(query),
        read<S>(key),
        read<S>(value),
        read<S>(out),
        read<S>(grad),
        numbers(static_cast<const A*>(lse.const_data_ptr()), query),
        numbers(
            grad_lse.has_value() ? static_cast<const A*>(grad_lse->const_data_ptr()) : nullptr,
            query),
        numbers(delta.data(), query),
        write<A>(grad_query),
        write<A>(grad_key),
        write<A>(grad_value)};
    run_image(kernel, query);
    grad_query = stored<S>(grad_query, type);
    grad_key = stored<S>(grad_key, type);
    grad_value = stored<S>(grad_value, type);
  });
  return {grad_query, grad_key, grad_value};
}

}  // namespace
}  // namespace criss_cross
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def("criss_cross(Tensor query, Tensor key, Tensor value) -> (Tensor, Tensor)");
  m.def(
      "criss_cross_backward(Tensor grad, Tensor? grad_lse, Tensor query, Tensor key, Tensor value, "
      "Tensor out, Tensor lse) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("criss_cross", TORCH_BOX(&mmattn::criss_cross::forward));
  m.impl("criss_cross_backward", TORCH_BOX(&mmattn::criss_cross::backward));
}
