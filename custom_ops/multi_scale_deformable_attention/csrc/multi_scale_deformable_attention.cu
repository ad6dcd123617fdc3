// mmattn_cuda::multi_scale_deformable_attention and its backward: checks and launches. The kernels
// are in the header. Not measured on a GPU yet.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <vector>

#include "multi_scale_deformable_checks.h"
#include "multi_scale_deformable_kernel.cuh"

namespace mmattn {
namespace msda {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

template <typename T, int kChannels>
struct Kind {
  using Stored = T;
  static constexpr int channels = kChannels;
  static constexpr int queries_per_block = kThreads / (kChannels / int(16 / sizeof(T)));
};

template <typename T, typename F>
void dispatch_channels(int64_t channels, F&& f) {
  switch (channels) {
    case 8: return f(Kind<T, 8>());
    case 16: return f(Kind<T, 16>());
    case 32: return f(Kind<T, 32>());
    case 64: return f(Kind<T, 64>());
    default:
      STD_TORCH_CHECK(
          false, "multi_scale_deformable_attention: CUDA takes 8, 16, 32 or 64 channels per head");
  }
}

template <typename F>
void dispatch(const Tensor& value, F&& f) {
  switch (value.scalar_type()) {
    case ScalarType::Float: return dispatch_channels<float>(value.size(3), f);
    case ScalarType::Double: return dispatch_channels<double>(value.size(3), f);
    case ScalarType::BFloat16: return dispatch_channels<__nv_bfloat16>(value.size(3), f);
    case ScalarType::Half: return dispatch_channels<__half>(value.size(3), f);
    default: STD_TORCH_CHECK(false, "multi_scale_deformable_attention: unsupported dtype");
  }
}

// Dense, and on an address that 16 bytes can be read from.
Tensor aligned(const Tensor& t) {
  const Tensor dense = torch::stable::contiguous(t);
  const bool fits = reinterpret_cast<uintptr_t>(dense.const_data_ptr()) % 16 == 0;
  return fits ? dense : torch::stable::clone(dense);
}

struct Launch {
  Launch(
      const Tensor& value, const Tensor& locations, const Ints& shapes, const Ints& starts,
      int queries_per_block) {
    const int64_t most = std::numeric_limits<int32_t>::max();
    STD_TORCH_CHECK(
        starts.size() <= size_t(kMostLevels), "multi_scale_deformable_attention: too many levels");
    STD_TORCH_CHECK(value.size(1) <= most / 4, "multi_scale_deformable_attention: too many pixels");
    for (int i = 1; i < 5; ++i) {
      STD_TORCH_CHECK(
          locations.size(i) <= most / 4,
          "multi_scale_deformable_attention: too many queries or points");
    }
    STD_TORCH_CHECK(
        locations.size(3) * locations.size(4) <= most / 4,
        "multi_scale_deformable_attention: too many points");
    sizes.pixels = value.size(1);
    sizes.queries = int(locations.size(1));
    sizes.heads = int(locations.size(2));
    sizes.levels = int(locations.size(3));
    sizes.points = int(locations.size(4));
    sizes.query_blocks = (sizes.queries + queries_per_block - 1) / queries_per_block;
    blocks = value.size(0) * sizes.heads * sizes.query_blocks;
    STD_TORCH_CHECK(blocks <= most, "multi_scale_deformable_attention: too many queries");
    for (size_t i = 0; i < starts.size(); ++i) {
      table.rows[i] = int(shapes[2 * i]);
      table.columns[i] = int(shapes[2 * i + 1]);
      table.start[i] = int(starts[i]);
    }
  }
  Sizes sizes;
  LevelTable table;
  int64_t blocks;
};

cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

void check_launch() {
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(
      error == cudaSuccess, "multi_scale_deformable_attention: ", cudaGetErrorString(error));
}

Tensor forward(
    const Tensor& given_value, const Tensor& given_locations, const Tensor& given_weights,
    const Ints shapes, const Ints starts) {
  check_arguments(given_value, given_locations, given_weights, shapes, starts);
  STD_TORCH_CHECK(
      given_value.is_cuda(), "multi_scale_deformable_attention: tensors must be on a CUDA device");
  const torch::stable::accelerator::DeviceGuard guard(given_value.get_device_index());
  const Tensor value = aligned(given_value);
  const Tensor locations = torch::stable::contiguous(given_locations);
  const Tensor weights = torch::stable::contiguous(given_weights);
  Tensor output = torch::stable::new_empty(
      value, {value.size(0), locations.size(1), value.size(2) * value.size(3)});
  if (output.numel() == 0) return output;
  dispatch(value, [&](auto kind) {
    using T = typename decltype(kind)::Stored;
    using A = typename ComputedIn<T>::type;
    const Launch launch(value, locations, shapes, starts, decltype(kind)::queries_per_block);
    forward_kernel<T, decltype(kind)::channels>
        <<<int(launch.blocks), kThreads, 0, current_stream(value)>>>(
            static_cast<const T*>(value.const_data_ptr()),
            static_cast<const A*>(locations.const_data_ptr()),
            static_cast<const A*>(weights.const_data_ptr()),
            static_cast<T*>(output.mutable_data_ptr()), launch.sizes, launch.table);
    check_launch();
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
      given_value.is_cuda(), "multi_scale_deformable_attention: tensors must be on a CUDA device");
  const torch::stable::accelerator::DeviceGuard guard(given_value.get_device_index());
  const Tensor grad = aligned(given_grad), value = aligned(given_value);
  const Tensor locations = torch::stable::contiguous(given_locations);
  const Tensor weights = torch::stable::contiguous(given_weights);
  const std::array<int64_t, 4> size{value.size(0), value.size(1), value.size(2), value.size(3)};
  // Half precisions are summed in float32: thousands of samples may fall on one pixel.
  const ScalarType stored = value.scalar_type(), precise = locations.scalar_type();
  Tensor grad_value = need_value
      ? torch::stable::new_zeros(value, {size.data(), size.size()}, precise)
      : torch::stable::new_empty(value, {0});
  Tensor grad_locations = need_locations ? torch::stable::empty_like(locations)
                                         : torch::stable::new_empty(locations, {0});
  Tensor grad_weights =
      need_weights ? torch::stable::empty_like(weights) : torch::stable::new_empty(weights, {0});
  if (grad.numel() == 0) {  // no channels, or nothing else either
    torch::stable::zero_(grad_locations);
    torch::stable::zero_(grad_weights);
  } else {
    dispatch(value, [&](auto kind) {
      using T = typename decltype(kind)::Stored;
      using A = typename ComputedIn<T>::type;
      const Launch launch(value, locations, shapes, starts, decltype(kind)::queries_per_block);
      const auto target = [](Tensor& t, bool need) {
        return need ? static_cast<A*>(t.mutable_data_ptr()) : nullptr;
      };
      backward_kernel<T, decltype(kind)::channels>
          <<<int(launch.blocks), kThreads, 0, current_stream(value)>>>(
              static_cast<const T*>(grad.const_data_ptr()),
              static_cast<const T*>(value.const_data_ptr()),
              static_cast<const A*>(locations.const_data_ptr()),
              static_cast<const A*>(weights.const_data_ptr()), target(grad_value, need_value),
              target(grad_locations, need_locations), target(grad_weights, need_weights),
              launch.sizes, launch.table);
      check_launch();
    });
  }
  if (need_value && stored != precise) grad_value = torch::stable::to(grad_value, stored);
  return {grad_value, grad_locations, grad_weights};
}

}  // namespace
}  // namespace msda
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cuda, m) {
  m.def(
      "multi_scale_deformable_attention(Tensor value, Tensor sampling_locations, Tensor "
      "attention_weights, int[] spatial_shapes, int[] level_starts) -> Tensor");
  m.def(
      "multi_scale_deformable_attention_backward(Tensor grad, Tensor value, Tensor "
      "sampling_locations, Tensor attention_weights, int[] spatial_shapes, int[] level_starts, "
      "bool "
      "need_value, bool need_locations, bool need_weights) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cuda, CUDA, m) {
  m.impl("multi_scale_deformable_attention", TORCH_BOX(&mmattn::msda::forward));
  m.impl("multi_scale_deformable_attention_backward", TORCH_BOX(&mmattn::msda::backward));
}
