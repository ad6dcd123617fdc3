// Multi-scale deformable attention on the GPU, without torch. T is the stored type of the values, A
// the type of sums, locations and weights.
//
// A group of lanes serves one query and head; each lane holds 16 bytes of the head's channels. The
// lanes compute the corners of one sample each and hand them round by shuffles, so that coordinates
// are computed once and not once per channel. A block serves neighbouring queries of one head,
// whose corners meet in L1.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace mmattn {
namespace msda {

constexpr int kThreads = 256;
constexpr int kMostLevels = 64;
constexpr unsigned kWarp = 0xffffffffu;

template <typename T>
struct ComputedIn {
  using type = float;
};
template <>
struct ComputedIn<double> {
  using type = double;
};

struct LevelTable {
  int rows[kMostLevels], columns[kMostLevels], start[kMostLevels];
};

// Sizes, and value [batch][pixel][head][channel], locations [batch][query][head][level][point][2],
// weights alike without the 2, output [batch][query][head][channel], all dense.
struct Sizes {
  int64_t pixels;
  int queries, heads, levels, points;
  int query_blocks;  // per image and head
};

template <typename T>
struct alignas(16) Lane {
  T item[16 / sizeof(T)];
};

template <typename T, typename A>
__device__ __forceinline__ void load_lane(const T* from, A (&to)[16 / sizeof(T)]) {
  const Lane<T> lane = *reinterpret_cast<const Lane<T>*>(from);
#pragma unroll
  for (int i = 0; i < int(16 / sizeof(T)); ++i) to[i] = A(lane.item[i]);
}

// The four pixels of a sample. A pixel beyond the feature map is replaced by its neighbour inside,
// with share 0.
template <typename A>
struct Corner {
  int pixel;       // top left
  int right_down;  // steps to the right (0 or 1) and down (0 or a row): 2 * down + right
  A share[4];      // top left, top right, bottom left, bottom right, times the weight
};

// Facts about a sample that its lane keeps for the gradients.
template <typename A>
struct Shares {
  A left, right, top, bottom, has_left, has_right, has_top, has_bottom, weight, width, height;
};

template <typename A>
__device__ __forceinline__ Corner<A> find_corner(
    A x, A y, A weight, int rows, int columns, int start, Shares<A>& s) {
  const A zero = A(0), one = A(1), half = A(0.5);
  s.width = A(columns);
  s.height = A(rows);
  s.weight = weight;
  x = x * s.width - half;
  y = y * s.height - half;
  // Far points and NaN read nothing.
  const bool near = x > -one && y > -one && x < s.width && y < s.height;
  x = near ? x : -one;
  y = near ? y : -one;
  const A floor_x = floor(x), floor_y = floor(y);
  const int x0 = int(floor_x), y0 = int(floor_y);
  const bool left = x0 >= 0, right = near && x0 + 1 < columns;
  const bool top = y0 >= 0, bottom = near && y0 + 1 < rows;
  s.has_left = left ? one : zero;
  s.has_right = right ? one : zero;
  s.has_top = top ? one : zero;
  s.has_bottom = bottom ? one : zero;
  s.right = (x - floor_x) * s.has_right;
  s.left = (one - (x - floor_x)) * s.has_left;
  s.bottom = (y - floor_y) * s.has_bottom;
  s.top = (one - (y - floor_y)) * s.has_top;
  Corner<A> c;
  c.pixel = start + max(y0, 0) * columns + max(x0, 0);
  c.right_down = (left && right ? 1 : 0) + (top && bottom ? 2 * columns : 0);
  c.share[0] = s.top * s.left * weight;
  c.share[1] = s.top * s.right * weight;
  c.share[2] = s.bottom * s.left * weight;
  c.share[3] = s.bottom * s.right * weight;
  return c;
}

// The corner that lane `from` of the group has found.
template <int kLanes, typename A>
__device__ __forceinline__ Corner<A> hand_round(const Corner<A>& mine, int from) {
  Corner<A> c;
  c.pixel = __shfl_sync(kWarp, mine.pixel, from, kLanes);
  c.right_down = __shfl_sync(kWarp, mine.right_down, from, kLanes);
#pragma unroll
  for (int k = 0; k < 4; ++k) c.share[k] = __shfl_sync(kWarp, mine.share[k], from, kLanes);
  return c;
}

template <typename A>
__device__ __forceinline__ int corner_pixel(const Corner<A>& c, int k) {
  return c.pixel + (k & 1 ? c.right_down & 1 : 0) + (k & 2 ? c.right_down >> 1 : 0);
}

// The query, head and image that a thread serves. Threads beyond the last query repeat it, since
// all lanes of a warp take part in shuffles, and store nothing.
template <int kLanes>
struct Place {
  __device__ explicit Place(const Sizes& sizes) {
    const int64_t block = blockIdx.x;
    lane = threadIdx.x % kLanes;
    const int64_t query = block % sizes.query_blocks * (kThreads / kLanes) + threadIdx.x / kLanes;
    active = query < sizes.queries;
    head = int(block / sizes.query_blocks % sizes.heads);
    image = block / sizes.query_blocks / sizes.heads;
    row = (image * sizes.queries + (active ? query : sizes.queries - 1)) * sizes.heads + head;
  }
  int lane, head;
  int64_t image, row;
  bool active;
};

__device__ __forceinline__ void share_levels(
    const LevelTable& table, int levels, LevelTable& shared) {
  for (int i = threadIdx.x; i < levels; i += kThreads) {
    shared.rows[i] = table.rows[i];
    shared.columns[i] = table.columns[i];
    shared.start[i] = table.start[i];
  }
  __syncthreads();
}

// Sample `index` of a row; beyond the last one, a sample without weight.
template <typename A>
__device__ __forceinline__ Corner<A> find_sample(
    const A* __restrict__ locations, const A* __restrict__ weights, int64_t row, int index,
    const Sizes& sizes, const LevelTable& levels, Shares<A>& shares) {
  const int samples = sizes.levels * sizes.points;
  const bool exists = index < samples;
  const int level = exists ? index / sizes.points : 0;
  const int64_t at = row * samples + (exists ? index : 0);
  return find_corner<A>(
      locations[2 * at], locations[2 * at + 1], exists ? weights[at] : A(0), levels.rows[level],
      levels.columns[level], levels.start[level], shares);
}

template <typename T, int kChannels>
__global__ void __launch_bounds__(kThreads) forward_kernel(
    const T* __restrict__ value, const typename ComputedIn<T>::type* __restrict__ locations,
    const typename ComputedIn<T>::type* __restrict__ weights, T* __restrict__ output,
    const Sizes sizes, const __grid_constant__ LevelTable table) {
  using A = typename ComputedIn<T>::type;
  constexpr int kItems = 16 / sizeof(T), kLanes = kChannels / kItems;
  __shared__ LevelTable levels;
  share_levels(table, sizes.levels, levels);
  const Place<kLanes> place(sizes);
  const int64_t step = int64_t(sizes.heads) * kChannels;
  const T* plane =
      value + place.image * sizes.pixels * step + place.head * kChannels + place.lane * kItems;
  const int samples = sizes.levels * sizes.points;
  A sum[kItems] = {};
  for (int first = 0; first < samples; first += kLanes) {
    Shares<A> unused;
    const Corner<A> mine =
        find_sample<A>(locations, weights, place.row, first + place.lane, sizes, levels, unused);
    const int count = min(kLanes, samples - first);
#pragma unroll 2
    for (int j = 0; j < count; ++j) {
      const Corner<A> c = hand_round<kLanes>(mine, j);
      A read[4][kItems];
#pragma unroll
      for (int k = 0; k < 4; ++k) load_lane(plane + corner_pixel(c, k) * step, read[k]);
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        sum[i] += c.share[0] * read[0][i] + c.share[1] * read[1][i] + c.share[2] * read[2][i] +
            c.share[3] * read[3][i];
      }
    }
  }
  if (!place.active) return;
  Lane<T> result;
#pragma unroll
  for (int i = 0; i < kItems; ++i) result.item[i] = T(sum[i]);
  *reinterpret_cast<Lane<T>*>(output + place.row * kChannels + place.lane * kItems) = result;
}

// Adds neighbouring numbers, four at once where the hardware can.
template <int kCount>
__device__ __forceinline__ void add_to(float* to, const float (&v)[kCount], float share) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  static_assert(kCount % 4 == 0, "a lane holds 16 bytes of at most 4 bytes each");
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    atomicAdd(
        reinterpret_cast<float4*>(to + i),
        make_float4(share * v[i], share * v[i + 1], share * v[i + 2], share * v[i + 3]));
  }
#else
#pragma unroll
  for (int i = 0; i < kCount; ++i) atomicAdd(to + i, share * v[i]);
#endif
}

template <int kCount>
__device__ __forceinline__ void add_to(double* to, const double (&v)[kCount], double share) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) atomicAdd(to + i, share * v[i]);
}

// grad_value has the type of sums and is zero at first. A null pointer leaves out that gradient.
template <typename T, int kChannels>
__global__ void __launch_bounds__(kThreads) backward_kernel(
    const T* __restrict__ grad, const T* __restrict__ value,
    const typename ComputedIn<T>::type* __restrict__ locations,
    const typename ComputedIn<T>::type* __restrict__ weights,
    typename ComputedIn<T>::type* __restrict__ grad_value,
    typename ComputedIn<T>::type* __restrict__ grad_locations,
    typename ComputedIn<T>::type* __restrict__ grad_weights, const Sizes sizes,
    const __grid_constant__ LevelTable table) {
  using A = typename ComputedIn<T>::type;
  constexpr int kItems = 16 / sizeof(T), kLanes = kChannels / kItems;
  __shared__ LevelTable levels;
  share_levels(table, sizes.levels, levels);
  const Place<kLanes> place(sizes);
  const int64_t step = int64_t(sizes.heads) * kChannels;
  const int64_t origin =
      place.image * sizes.pixels * step + place.head * kChannels + place.lane * kItems;
  const bool need_points = grad_locations != nullptr || grad_weights != nullptr;
  const int samples = sizes.levels * sizes.points;
  A g[kItems];
  load_lane(grad + place.row * kChannels + place.lane * kItems, g);
  for (int first = 0; first < samples; first += kLanes) {
    const int index = first + place.lane;
    Shares<A> shares;
    const Corner<A> mine =
        find_sample<A>(locations, weights, place.row, index, sizes, levels, shares);
    const int count = min(kLanes, samples - first);
    A own[4] = {};  // products of the gradient with the corners of this lane's sample
    for (int j = 0; j < count; ++j) {
      const Corner<A> c = hand_round<kLanes>(mine, j);
      if (need_points) {
        A read[4][kItems];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          load_lane(value + origin + corner_pixel(c, k) * step, read[k]);
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          A dot = A(0);
#pragma unroll
          for (int i = 0; i < kItems; ++i) dot += g[i] * read[k][i];
#pragma unroll
          for (int far = kLanes / 2; far > 0; far /= 2) {
            dot += __shfl_xor_sync(kWarp, dot, far, kLanes);
          }
          if (j == place.lane) own[k] = dot;
        }
      }
      if (grad_value != nullptr && place.active) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          if (c.share[k] != A(0)) {
            add_to(grad_value + origin + corner_pixel(c, k) * step, g, c.share[k]);
          }
        }
      }
    }
    if (!need_points || !place.active || index >= samples) continue;
    const int64_t at = place.row * samples + index;
    const A upper = shares.left * own[0] + shares.right * own[1];
    const A lower = shares.left * own[2] + shares.right * own[3];
    if (grad_weights != nullptr) grad_weights[at] = shares.top * upper + shares.bottom * lower;
    if (grad_locations == nullptr) continue;
    const A at_left = shares.top * own[0] + shares.bottom * own[2];
    const A at_right = shares.top * own[1] + shares.bottom * own[3];
    grad_locations[2 * at] =
        shares.weight * shares.width * (shares.has_right * at_right - shares.has_left * at_left);
    grad_locations[2 * at + 1] =
        shares.weight * shares.height * (shares.has_bottom * lower - shares.has_top * upper);
  }
}

}  // namespace msda
}  // namespace mmattn
